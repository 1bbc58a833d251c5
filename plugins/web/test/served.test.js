// The page as `cliplit-web` serves it: with headers that let the network use threads. And WebGPU, where it works.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { PYTHON, dist, folder, launch, openFiles, openPage, python, saved, serve } from "./harness.js";

const MODEL = path.join(dist, readdirSync(dist).find((name) => name.endsWith(".onnx")));

/** Relight a picture with the page and with Python, and return the PSNR. */
async function compared(page) {
  const at = folder();
  python("pictures", at);
  python("relight", MODEL, at, "small.png");
  await openFiles(page, path.join(at, "small.png"));
  return python("compare", await saved(page, "#save-png", at), path.join(at, "small.png.reference.png"))[0];
}

test("cliplit-web serves it, isolated, and the light is the same", async () => {
  const process = spawn(PYTHON, ["-u", "-m", "cliplit.plugins.web_cli", "--no-browser", "--port", "0"]);
  const browser = await launch();
  try {
    const [line] = await Promise.race([
      createInterface(process.stdout)[Symbol.asyncIterator]().next().then(({ value }) => [value]),
      new Promise((_, reject) => process.once("exit", (code) => reject(new Error(`cliplit-web ended with ${code}`)))),
    ]);
    const { page, trouble } = await openPage(browser, line.split(" ")[0]);
    assert.equal(await page.evaluate(() => crossOriginIsolated), true);
    const value = await compared(page);
    assert.ok(value >= 45, `${value} dB`);
    assert.deepEqual(trouble, []);
  } finally {
    await browser.close();
    process.kill("SIGINT");
  }
});

test("where there is a WebGPU adapter, the light is the same", async (context) => {
  const server = await serve();
  const browser = await launch("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan");
  try {
    const { page } = await openPage(browser, server.address);
    const backend = await page.evaluate(() => document.documentElement.dataset.backend);
    const adapter = await page.evaluate(async () => Boolean(await navigator.gpu?.requestAdapter()));
    if (!adapter) return context.skip("this Chromium has no WebGPU adapter");
    const value = await compared(page);
    assert.ok(value >= 45, `${value} dB`);
    console.log(`${backend}: ${value.toFixed(1)} dB`); // WebAssembly where this adapter, the processor, was too slow
  } finally {
    await browser.close();
    server.close();
  }
});
