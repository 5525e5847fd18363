// Lays what the page needs into dist/: the page, onnxruntime-web's WebAssembly build, and a list of what is there with hashes.
// `npm ci` has checked the package against package-lock.json; nothing is fetched here, and the page fetches from dist/ alone.

import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";

const here = new URL("./", import.meta.url);
const runtime = new URL("node_modules/onnxruntime-web/", here);
const dist = new URL("dist/", here);
mkdirSync(dist, { recursive: true });

for (const name of readdirSync(new URL("src/", here))) copyFileSync(new URL(`src/${name}`, here), new URL(name, dist));
for (const name of ["ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"]) {
  copyFileSync(new URL(`dist/${name}`, runtime), new URL(name, dist));
}

const { version } = JSON.parse(readFileSync(new URL("package.json", runtime)));
const files = readdirSync(dist).filter((name) => name !== "built.json").sort();
const hashes = Object.fromEntries(
  files.map((name) => [name, createHash("sha256").update(readFileSync(new URL(name, dist))).digest("hex")]),
);
writeFileSync(new URL("built.json", dist), JSON.stringify({ "onnxruntime-web": version, sha256: hashes }, null, 2) + "\n");
console.log(`dist/ holds the page and onnxruntime-web ${version}`);
