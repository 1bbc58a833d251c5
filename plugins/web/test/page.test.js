// The page in Debian's Chromium: files, slider, settings, saving, themes, accessibility, what it asks the network for.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { folder, launch, launchWithoutGraphics, openFiles, openPage, python, saved, serve } from "./harness.js";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const at = folder();
const file = (name) => path.join(at, name);

let server, browser, page, context, trouble;
before(async () => {
  python("files", at);
  server = await serve();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
});
beforeEach(async () => ({ page, context, trouble } = await openPage(browser, server.address, { hasTouch: true })));
afterEach(async () => {
  await context.close();
  assert.deepEqual(trouble, [], "errors, or requests to elsewhere");
});

/** The mean R, G and B of a canvas as it is drawn. */
const mean = (id) =>
  page.evaluate((id) => {
    const context = new OffscreenCanvas(64, 36).getContext("2d");
    context.drawImage(document.getElementById(id), 0, 0, 64, 36);
    const { data } = context.getImageData(0, 0, 64, 36);
    return [0, 1, 2].map((c) => data.filter((_, i) => i % 4 === c).reduce((sum, value) => sum + value, 0) / (64 * 36));
  }, id);
const sum = (values) => values.reduce((total, value) => total + value, 0);
const messages = () => page.locator("#messages li span").allInnerTexts();
const set = (id, value) =>
  page.evaluate(([id, value]) => {
    document.getElementById(id).value = value;
    document.getElementById(id).dispatchEvent(new Event("input"));
  }, [id, value]);
/** Wait until the condition holds; what the worker draws comes when it comes. */
const until = async (condition, what) => {
  for (let i = 0; i < 1200; i++) {
    if (await condition()) return;
    await page.waitForTimeout(50);
  }
  assert.fail(`never happened: ${what}`);
};

test("the example is there at the first look, and brighter after than before", async () => {
  assert.ok(sum(await mean("after")) > 1.2 * sum(await mean("before")));
  assert.match(await page.innerText("#status"), /1600 × 900/);
});

test("strength and maximum gain are live, and need no run of the network", async () => {
  const bright = sum(await mean("after"));
  const dark = sum(await mean("before"));
  await set("strength", 0);
  await until(async () => Math.abs(sum(await mean("after")) - dark) < 0.5, "strength 0 is the picture itself");
  await set("strength", 2);
  await until(async () => sum(await mean("after")) > bright + 5, "strength 2 is brighter");
  await set("strength", 1);
  await set("gain", 0); // 1 ×
  await until(async () => Math.abs(sum(await mean("after")) - dark) < 0.5, "a gain of 1 is the picture itself");
  await page.click("#reset");
  await until(async () => Math.abs(sum(await mean("after")) - bright) < 0.5, "the network's own light again");
  assert.equal(await page.innerText("#gain-value"), "16 ×");
});

test("the light map is shown in grey", async () => {
  await page.check("#light-map");
  await until(async () => (await page.innerText("#tag")) === "light map", "the tag says so");
  await until(async () => {
    const [r, g, b] = await mean("after");
    return Math.abs(r - g) < 0.01 && Math.abs(g - b) < 0.01 && r < 254;
  }, "grey");
});

test("the line is moved by mouse, finger and keys", async () => {
  const handle = page.locator("#stage .handle");
  const cut = () => page.evaluate(() => document.querySelector("#stage").style.getPropertyValue("--cut"));
  const box = await page.locator("#stage").boundingBox();
  const y = box.y + box.height / 2;
  await page.mouse.move(box.x + box.width / 2, y);
  await page.mouse.down();
  await page.mouse.move(box.x + 0.9 * box.width, y, { steps: 3 });
  await page.mouse.up();
  assert.equal(await cut(), "90%");
  await page.touchscreen.tap(box.x + 0.2 * box.width, y);
  assert.equal(await cut(), "20%");
  await handle.focus();
  await page.keyboard.press("Home");
  assert.equal(await cut(), "0%");
  await page.keyboard.press("ArrowRight");
  assert.equal(await handle.getAttribute("aria-valuetext"), "1 % before");
});

test("several files: one line for each that is broken, the others are there and can be chosen", async () => {
  await openFiles(page, ["photo.jpg", "broken.jpg", "empty.png", "words.txt", "wide.png", "deep.png"].map(file));
  const lines = await messages();
  for (const name of ["broken.jpg", "empty.png", "words.txt", "wide.png"]) {
    assert.equal(lines.filter((line) => line.startsWith(`${name}: `)).length, 1, `${name}: ${lines}`);
  }
  assert.ok(lines.some((line) => line.startsWith("deep.png: 16 bits")));
  assert.equal(await page.locator("#strip button").count(), 2);
  await page.focus("#strip button >> nth=0"); // by keyboard
  await page.keyboard.press("Enter");
  await until(async () => (await page.innerText("#name")) === "photo.jpg", "the first one is shown again");
  assert.equal(await page.getAttribute("#strip button >> nth=0", "aria-current"), "true");
  await page.click("#messages button >> nth=0");
  assert.equal((await messages()).length, lines.length - 1);
});

test("a broken file leaves the picture before it usable", async () => {
  await openFiles(page, file("photo.jpg"));
  await page.setInputFiles("#files", file("broken.jpg"));
  await until(async () => (await messages()).length === 1, "a line for the broken one");
  const target = await saved(page, "#save-png", at);
  assert.equal(path.basename(target), "photo.relit.png");
});

test("photos are dropped and pasted", async () => {
  for (const [kind, name] of [["drop", "dropped.jpg"], ["paste", "pasted.jpg"]]) {
    const data = readFileSync(file("photo.jpg")).toString("base64");
    await page.evaluate(([kind, name, data]) => {
      const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
      const transfer = new DataTransfer();
      transfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
      const event = kind === "drop"
        ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true })
        : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true });
      document.body.dispatchEvent(event);
    }, [kind, name, data]);
    await until(async () => (await page.innerText("#name")) === name, `${kind} shows ${name}`);
  }
});

test("a turned photo is saved upright, as JPEG and as PNG", async () => {
  await openFiles(page, file("turned.jpg"));
  assert.match(await page.innerText("#status"), /300 × 400/);
  for (const button of ["#save-jpeg", "#save-png"]) {
    const target = await saved(page, button, at);
    const { size, orientation, red } = python("look", target);
    assert.deepEqual(size, [300, 400]);
    assert.equal(orientation, 1);
    assert.deepEqual(red, [1, 0], "columns and rows: red is at the top right");
  }
});

test("a photo of 24 megapixels is relighted and saved while the page stays alive", async () => {
  await page.evaluate(() => {
    globalThis.longest = 0;
    globalThis.started = performance.now();
    let last = started;
    setInterval(() => {
      const now = performance.now();
      longest = Math.max(longest, now - last);
      last = now;
    }, 10);
  });
  await openFiles(page, file("large.jpg"));
  const target = await saved(page, "#save-jpeg", at);
  const [longest, total] = await page.evaluate(() => [globalThis.longest, performance.now() - globalThis.started]);
  assert.deepEqual(python("look", target).size, [6000, 4000]);
  assert.ok(longest < total / 5, `the page stood still for ${longest.toFixed(0)} of ${total.toFixed(0)} ms`);
});

test("the theme follows the system until it is chosen, and is remembered", async () => {
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await page.emulateMedia({ colorScheme: "dark" });
  const dark = await ground();
  await page.emulateMedia({ colorScheme: "light" });
  const light = await ground();
  assert.notEqual(dark, light);
  await page.click("#theme");
  assert.equal(await ground(), dark);
  await page.reload();
  await page.waitForSelector("html[data-ready]");
  assert.equal(await ground(), dark);
});

test("axe finds nothing, in both themes, with files, messages and settings", async () => {
  await openFiles(page, [file("photo.jpg"), file("broken.jpg"), file("turned.jpg")]);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    const { violations } = await page.evaluate(`${axe}; axe.run()`);
    assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]), []);
  }
});

test("everything is reached by keyboard", async () => {
  await page.focus("#theme");
  const reached = new Set();
  for (let i = 0; i < 20; i++) {
    reached.add(await page.evaluate(() => document.activeElement.id || document.activeElement.className));
    await page.keyboard.press("Tab");
  }
  for (const id of ["theme", "handle", "open", "camera", "strength", "gain", "light-map", "save-jpeg", "save-png"]) {
    assert.ok(reached.has(id), `${id} of ${[...reached]}`);
  }
});

test("it fits a phone", async () => {
  await page.setViewportSize({ width: 360, height: 740 });
  assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 360);
});

test("no request leaves the page's own origin, neither from the page nor from its worker", async () => {
  const elsewhere = await serve();
  const target = `${elsewhere.address}icon.svg`;
  const attempt = (address) => fetch(address, { mode: "no-cors" }).then(() => "answered", () => "refused");
  assert.equal(await page.evaluate(attempt, target), "refused");
  assert.equal(page.workers().length >= 1, true);
  for (const worker of page.workers()) assert.equal(await worker.evaluate(attempt, target), "refused");
  assert.equal(await page.evaluate(attempt, `${server.address}icon.svg`), "answered");
  elsewhere.close();
  trouble.length = 0; // the refusals, which the console tells
});

test("the policy names no other origin", async () => {
  const policy = await page.getAttribute("meta[http-equiv=Content-Security-Policy]", "content");
  assert.match(policy, /^default-src 'none';/);
  const sources = policy.split("; ").flatMap((rule) => rule.split(" ").slice(1));
  assert.deepEqual([...new Set(sources)].sort(), ["'none'", "'self'", "'wasm-unsafe-eval'", "blob:"].sort());
});

test("without JavaScript the page says what is missing", async () => {
  const plain = await openPage(browser, server.address, { javaScriptEnabled: false, wait: false });
  assert.match(await plain.page.innerText("noscript"), /needs JavaScript/);
  await plain.context.close();
});

for (const [what, open] of [["WebAssembly", () => launch("--js-flags=--jitless")], ["WebGL2", launchWithoutGraphics]]) {
  test(`without ${what} the page says what is missing`, async () => {
    const without = await open();
    try {
      const { page, trouble } = await openPage(without, server.address);
      const [line] = await page.locator("#messages li span").allInnerTexts();
      assert.match(line ?? "no line", new RegExp(`no ${what}`));
      assert.match(line, /Try a current Firefox/);
      assert.ok(await page.isDisabled("#open"));
      assert.deepEqual(trouble, []);
    } finally {
      await without.close();
    }
  });
}
