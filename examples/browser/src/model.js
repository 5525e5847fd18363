// An exported model in use: its graphs, and targets in words as codes or styles.

import * as ort from "./ort.wasm.min.mjs";
import { readFacts } from "./facts.js";

ort.env.wasm.wasmPaths = new URL("./", import.meta.url).href; // From beside this file, never from elsewhere.

export class Model {
  /** Open a model from the contents of its files, in any order; the translator among them is a must. */
  static async open(contents) {
    const model = new Model();
    model.graphs = {};
    for (const bytes of contents) {
      const facts = readFacts(bytes);
      if (facts.graph === "translator") model.facts = facts;
      model.graphs[facts.graph] = await ort.InferenceSession.create(bytes);
    }
    if (!model.facts) throw new Error("the translator is missing: choose the main file too");
    return model;
  }

  /** The sets of labels that a person chooses from: { dataset, names, alternatives }. */
  get choices() {
    return this.facts.labels.flatMap(({ dataset, labels, kind, exclusive }) => {
      const sets = kind === "one_of" ? [labels] : exclusive;
      const single = kind === "one_of" ? [] : labels.filter((name) => !exclusive.flat().includes(name));
      const named = (name) => (this.facts.names.includes(name) ? name : `${dataset}:${name}`);
      return [
        ...sets.map((names) => ({ dataset, names: names.map(named), alternatives: true })),
        ...single.map((name) => ({ dataset, names: [named(name)], alternatives: false })),
      ];
    });
  }

  /** Whether labels that a target does not name can be told from the picture. */
  get tells() {
    return "classifier" in this.graphs;
  }

  /** Translate a picture of the model's size to labels { name: true or false } of one dataset, in a style for models with styles. */
  async translate(x, dataset, wanted, latent) {
    const inputs = { image: tensor(x.data, [1, x.channels, x.height, x.width]) };
    const asked = this.graphs.translator.inputNames;
    const domain = Object.keys(wanted).find((name) => wanted[name]);
    if (asked.includes("style")) inputs.style = await this.style(domain, latent);
    if (asked.includes("domain")) inputs.domain = this.domain(domain);
    if (asked.includes("code")) inputs.code = await this.code(inputs.image, dataset, wanted);
    const { translation } = await this.graphs.translator.run(inputs);
    return { ...x, data: translation.data };
  }

  /** Make the code of a target: what it names, else what the classifier finds; then the dataset's mask bit. */
  async code(image, dataset, wanted) {
    const { names, code } = this.facts;
    const logits = this.tells ? (await this.graphs.classifier.run({ image })).logits.data : null;
    const values = new Float32Array(code.length);
    for (const choice of this.choices.filter((choice) => choice.dataset === dataset)) {
      const at = choice.names.map((name) => names.indexOf(name));
      const named = choice.names.filter((name) => name in wanted);
      if (choice.alternatives) {
        const best = named.length ? names.indexOf(named[0]) : at.reduce((a, b) => (logits[b] > logits[a] ? b : a));
        values[best] = 1;
      } else values[at[0]] = Number(named.length ? wanted[named[0]] : logits[at[0]] > 0);
    }
    const mask = code.indexOf(`mask:${dataset}`);
    if (mask >= 0) values[mask] = 1;
    return tensor(values, [1, code.length]);
  }

  /** Make a style of a domain: from a latent by the mapping network, else the domain's mean style. */
  async style(domain, latent) {
    const number = this.facts.domains.indexOf(domain);
    if (!latent || !this.graphs.mapping) {
      const mean = this.facts.mean_styles[number];
      return tensor(Float32Array.from(mean), [1, mean.length]);
    }
    const given = { latent: tensor(latent, [1, latent.length]), domain: this.domain(domain) };
    return (await this.graphs.mapping.run(given)).style;
  }

  /** Return a domain as the graphs take it: its place among the domains. */
  domain(name) {
    return new ort.Tensor("int64", BigInt64Array.of(BigInt(this.facts.domains.indexOf(name))), [1]);
  }

  /** Draw a latent: standard normal numbers; none for a model without styles. */
  draw() {
    if (!this.graphs.mapping) return null;
    const given = this.graphs.mapping.inputMetadata.find(({ name }) => name === "latent");
    const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
    return Float32Array.from({ length: given.shape[1] }, normal);
  }
}

function tensor(data, shape) {
  return new ort.Tensor("float32", data, shape);
}
