// The page against Python's Enhancer: the same formula, on pictures of odd sizes.

import assert from "node:assert/strict";
import { copyFileSync, existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { dist, folder, here, launch, openFiles, openPage, python, saved, serve } from "./harness.js";

const LEAST = 45; // dB
const PHOTOS = path.join(here, "..", "..", "..", "..", "shared", "data", "train", "backlit", "second");
const MODEL = path.join(dist, readdirSync(dist).find((name) => name.endsWith(".onnx")));

let server, browser;
before(async () => {
  server = await serve();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
});

/** Relight pictures with the page and with Python, and return the PSNR of each. */
async function compared(at, names) {
  python("relight", MODEL, at, ...names);
  const { page, context, trouble } = await openPage(browser, server.address);
  const pairs = [];
  for (const name of names) {
    await openFiles(page, path.join(at, name));
    pairs.push(await saved(page, "#save-png", at), path.join(at, `${name}.reference.png`));
  }
  await context.close();
  assert.deepEqual(trouble, []);
  return Object.fromEntries(python("compare", ...pairs).map((value, i) => [names[i], value]));
}

test("made pictures of odd sizes come out as Python's", async () => {
  const at = folder();
  const names = python("pictures", at);
  assert.ok(names.length >= 10);
  const found = await compared(at, names);
  console.log(found);
  for (const [name, value] of Object.entries(found)) assert.ok(value >= LEAST, `${name}: ${value.toFixed(1)} dB`);
});

test("photos come out as Python's", { skip: !existsSync(PHOTOS) && "needs shared/data" }, async () => {
  const at = folder();
  const names = readdirSync(PHOTOS).filter((name) => name.endsWith(".jpg")).slice(0, 10);
  for (const name of names) copyFileSync(path.join(PHOTOS, name), path.join(at, name));
  const found = await compared(at, names);
  console.log(found);
  for (const [name, value] of Object.entries(found)) assert.ok(value >= LEAST, `${name}: ${value.toFixed(1)} dB`);
});

test("the page's network is the one that Python takes when it is not asked", () => {
  const { config } = JSON.parse(readFileSync(path.join(here, "..", "package.json"), "utf8"));
  assert.equal(config.model, python("default"));
});
