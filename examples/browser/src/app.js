// The page: files in, choices, pictures out.

import { Model } from "./model.js";
import { fromImage, letterbox, toImage } from "./pictures.js";

const BESIDE = ["model.onnx", "model.classifier.onnx", "model.mapping.onnx"]; // Looked for beside the page.
const at = (id) => document.getElementById(id);
let model = null;
let source = null;
let latent = null;

function say(text) {
  at("status").value = text;
}

async function guarded(work) {
  try {
    await work();
  } catch (error) {
    say(`That did not work: ${error.message}`);
  }
}

async function openModel(contents) {
  say("Opening the model ...");
  model = await Model.open(contents);
  const { recipe, picture, precision, licence } = model.facts;
  at("about").textContent = `${recipe}, ${picture.width} x ${picture.height} pixels, ${precision}; licence: ${licence}`;
  latent = null;
  at("again").hidden = !model.graphs.mapping;
  drawChoices();
  say(source ? "Ready." : "Choose a picture, or drop one here.");
  await translate();
}

/** Make a list per choice; `keep` leaves what the picture has, where a classifier can tell it. */
function drawChoices() {
  const styled = Boolean(model.facts.domains);
  const datasets = [...new Set(model.choices.map(({ dataset }) => dataset))];
  const rows = [];
  if (!styled && datasets.length > 1) rows.push(list("Labels of", "dataset", datasets.map((name) => [name, name]), drawChoices));
  const chosen = at("dataset")?.value ?? datasets[0];
  if (rows.length) rows[0].querySelector("select").value = chosen;
  const keep = !styled && model.tells ? [["keep", ""]] : [];
  if (styled) {
    rows.push(list("Domain", "choice-domain", model.facts.domains.map((name) => [name, name])));
  } else {
    model.choices.forEach(({ dataset, names, alternatives }, number) => {
      if (dataset !== chosen) return;
      const values = alternatives ? names.map((name) => [name, name]) : [["yes", `${names[0]}=yes`], ["no", `${names[0]}=no`]];
      rows.push(list(alternatives ? "One of" : names[0], `choice-${number}`, [...keep, ...values]));
    });
  }
  at("targets").replaceChildren(...rows);
}

function list(title, id, options, changed = () => guarded(translate)) {
  const select = Object.assign(document.createElement("select"), { id, onchange: () => (changed(), guarded(translate)) });
  select.append(...options.map(([text, value]) => new Option(text, value)));
  const label = document.createElement("label");
  label.append(title, select);
  return label;
}

async function openPicture(file) {
  const bitmap = await createImageBitmap(file);
  const canvas = Object.assign(at("source"), { width: bitmap.width, height: bitmap.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white"; // Transparency is laid on white, as in the library.
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0);
  source = context.getImageData(0, 0, canvas.width, canvas.height);
  await translate();
}

async function translate() {
  if (!model || !source) return;
  say("Translating ...");
  const { picture } = model.facts;
  const dataset = at("dataset")?.value ?? model.facts.labels[0].dataset;
  const words = [...at("targets").querySelectorAll("select")].filter(({ id, value }) => id !== "dataset" && value).map(({ value }) => value);
  const wanted = Object.fromEntries(words.map((word) => [word.replace(/=(yes|no)$/, ""), !word.endsWith("=no")]));
  const { fitted, back } = letterbox(fromImage(source, picture), picture.height, picture.width, model.facts.keeps);
  const begun = performance.now();
  const y = await model.translate(fitted, dataset, wanted, latent);
  const taken = Math.round(performance.now() - begun);
  const image = toImage(back(y), picture);
  const canvas = Object.assign(at("result"), { width: image.width, height: image.height });
  canvas.getContext("2d").putImageData(image, 0, 0);
  at("caption").textContent = words.join(", ") || "result";
  at("save").href = canvas.toDataURL("image/png");
  at("save").hidden = false;
  say(`Done in ${taken} ms.`);
}

at("model").onchange = ({ target }) =>
  guarded(async () => openModel(await Promise.all([...target.files].map(async (file) => new Uint8Array(await file.arrayBuffer())))));
at("picture").onchange = ({ target }) => guarded(() => openPicture(target.files[0]));
at("again").onclick = () => guarded(() => ((latent = model.draw()), translate()));
document.ondragover = (event) => (event.preventDefault(), document.body.classList.add("over"));
document.ondragleave = () => document.body.classList.remove("over");
document.ondrop = (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  guarded(() => openPicture(event.dataTransfer.files[0]));
};

guarded(async () => {
  const answers = await Promise.all(BESIDE.map((name) => fetch(name)));
  const found = await Promise.all(answers.filter(({ ok }) => ok).map(async (answer) => new Uint8Array(await answer.arrayBuffer())));
  if (answers[0].ok) await openModel(found);
});
