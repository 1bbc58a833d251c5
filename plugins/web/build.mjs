// Builds the page into dist/: bundles the scripts, and copies the model, ONNX Runtime and what is static.
//
//   node build.mjs                      with the model that package.json names under config.model
//   CLIPLIT_WEB_MODEL=a.onnx node build.mjs      with another one

import { createHash } from "node:crypto";
import { copyFile, mkdir, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { modelInfo } from "./model_info.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const dist = path.join(here, "dist");
const source = (...parts) => path.join(here, "src", ...parts);

const MIT = `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions: The above copyright notice and
this permission notice shall be included in all copies or substantial portions of the Software. THE SOFTWARE IS PROVIDED
"AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS
BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
`;

// Only the page's own origin; blobs are what it makes itself. `cliplit-web` sends the same as a header.
export const POLICY = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "style-src 'self'",
  "img-src 'self' blob:",
  "media-src 'self' blob:",
  "connect-src 'self'",
  "worker-src 'self' blob:",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

async function modelFile() {
  if (process.env.CLIPLIT_WEB_MODEL) return path.resolve(process.env.CLIPLIT_WEB_MODEL);
  const { config } = JSON.parse(await readFile(path.join(here, "package.json"), "utf8"));
  return path.join(here, "..", "..", "runtime", "models", `${config.model}.onnx`);
}

async function copyModel() {
  const file = await modelFile();
  const data = await readFile(file);
  const hash = createHash("sha256").update(data).digest("hex").slice(0, 8); // so that no cache keeps an older one
  const info = modelInfo(data, file);
  const name = `${info.name}-${hash}.onnx`;
  await writeFile(path.join(dist, name), data);
  return { file: name, ...info };
}

await rm(dist, { recursive: true, force: true });
await mkdir(dist);
const model = await copyModel();

await build({
  entryPoints: [source("main.js"), source("worker.js"), source("page.css")],
  outdir: dist,
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "none",
  chunkNames: "[name]-[hash]",
  conditions: ["onnxruntime-web-use-extern-wasm"],
  define: { __MODEL__: JSON.stringify(model) },
  logLevel: "warning",
});

const html = await readFile(source("index.html"), "utf8");
await writeFile(path.join(dist, "index.html"), html.replace("{{ policy }}", POLICY));
for (const name of ["example.jpg", "icon.svg"]) await copyFile(source(name), path.join(dist, name));
const runtime = path.dirname(createRequire(import.meta.url).resolve("onnxruntime-web/wasm"));
for (const name of ["ort-wasm-simd-threaded", "ort-wasm-simd-threaded.jspi"]) {
  for (const suffix of ["mjs", "wasm"]) await copyFile(path.join(runtime, `${name}.${suffix}`), path.join(dist, `${name}.${suffix}`));
}
await writeFile(path.join(dist, "LICENSES.txt"), await licences());

/** The notices of what the page contains. */
async function licences() {
  const packages = { "onnxruntime-web": "ONNX Runtime", "onnxruntime-common": "ONNX Runtime" };
  const lines = ["cliplit: Apache License 2.0.", "example.jpg: dandelions by Clemens Engelhardt, 2018, CC0 1.0.", ""];
  for (const [name, title] of Object.entries(packages)) {
    const { version, license } = JSON.parse(await readFile(path.join(here, "node_modules", name, "package.json"), "utf8"));
    lines.push(`${title} (${name} ${version}): ${license} License, Copyright (c) Microsoft Corporation.`);
  }
  return `${lines.join("\n")}\n\n${MIT}`;
}

const files = await readdir(dist);
const sizes = await Promise.all(files.map(async (name) => (await stat(path.join(dist, name))).size));
console.log(`dist: ${files.length} files, ${(sizes.reduce((sum, size) => sum + size, 0) / 1e6).toFixed(1)} MB, model ${model.file}`);
