// What the tests share: a static server, Debian's Chromium, the page, and Python for what is expected.

import { spawnSync } from "node:child_process";
import { createReadStream, existsSync, mkdtempSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const here = path.dirname(fileURLToPath(import.meta.url));
export const dist = path.join(here, "..", "dist");
const CHROMIUM = process.env.CLIPLIT_CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find(existsSync);
export const PYTHON = process.env.CLIPLIT_PYTHON ?? "python3";
const TYPES = { html: "text/html", js: "text/javascript", mjs: "text/javascript", css: "text/css", wasm: "application/wasm", svg: "image/svg+xml", jpg: "image/jpeg" };
// WebGL2 by the processor, as there is no card in CI.
const SOFTWARE = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"];

/** Make a folder for one test file. */
export const folder = () => mkdtempSync(path.join(tmpdir(), "cliplit-web-"));

/** Serve the built page as any static server would, without a header of its own. */
export async function serve(root = dist) {
  const server = createServer((request, response) => {
    const name = path.join(root, decodeURIComponent(new URL(request.url, "http://x").pathname).replace(/\/$/, "/index.html"));
    if (!name.startsWith(root) || !existsSync(name)) return response.writeHead(404).end();
    response.writeHead(200, { "Content-Type": TYPES[path.extname(name).slice(1)] ?? "application/octet-stream" });
    createReadStream(name).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, address: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

/** Start the browser, with graphics by the processor. */
export const launch = (...args) => start([...SOFTWARE, ...args]);

/** Start the browser without any graphics. */
export const launchWithoutGraphics = () => start(["--disable-gpu", "--disable-software-rasterizer"]);

function start(args) {
  if (!CHROMIUM) throw new Error("no Chromium; install it with: apt-get install chromium");
  return chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", ...args] });
}

/**
 * Open the page and wait until the example is drawn. `trouble` gathers errors and every request to elsewhere.
 * `context` are Playwright's options.
 */
export async function openPage(browser, address, { wait = true, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, acceptDownloads: true, ...options });
  context.setDefaultTimeout(180_000); // as long as a busy machine may take; what is tested is not how fast it is
  const page = await context.newPage();
  const trouble = [];
  page.on("pageerror", (error) => trouble.push(String(error)));
  page.on("console", (line) => line.type() === "error" && trouble.push(line.text()));
  context.on("request", (request) => {
    const { origin, protocol } = new URL(request.url());
    if (`${origin}/` !== address && protocol !== "blob:") trouble.push(`a request to ${request.url()}`);
  });
  await page.goto(address);
  if (wait) await page.waitForSelector("html[data-ready]");
  return { page, context, trouble };
}

/** Give the page files and wait until the last one is shown. */
export async function openFiles(page, files) {
  await page.setInputFiles("#files", files);
  const last = [].concat(files).at(-1);
  const name = typeof last === "string" ? path.basename(last) : last.name;
  await page.waitForFunction((wanted) => document.querySelector("#name").textContent === wanted && !document.querySelector(".busy"), name);
}

/** Press a button that saves, and return the path of what was saved. */
export async function saved(page, selector, to) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click(selector)]);
  const target = path.join(to, download.suggestedFilename());
  await download.saveAs(target);
  return target;
}

/** Run test/reference.py and return what it prints, as JSON. */
export function python(...args) {
  const { status, stdout, stderr } = spawnSync(PYTHON, [path.join(here, "reference.py"), ...args], { encoding: "utf8", maxBuffer: 1 << 26 });
  if (status !== 0) {
    throw new Error(`${PYTHON} reference.py failed; CLIPLIT_PYTHON names a Python that has cliplit[cpu]: ${stderr}`);
  }
  return JSON.parse(stdout);
}
