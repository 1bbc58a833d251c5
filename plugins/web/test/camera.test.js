// The live camera, played by Chromium from a clip of two shots.

import assert from "node:assert/strict";
import path from "node:path";
import { after, before, test } from "node:test";
import { folder, launch, openPage, python, serve } from "./harness.js";

let server, browser, strict;
before(async () => {
  server = await serve();
});
after(async () => {
  await browser?.close();
  await strict?.close();
  server?.close();
});

test("the camera's picture is relighted, the frame rate shown, and cuts are seen", async () => {
  const clip = path.join(folder(), "camera.y4m");
  python("camera", clip);
  browser = await launch("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", `--use-file-for-fake-video-capture=${clip}`);
  const { page, trouble } = await openPage(browser, server.address);
  await page.click("#camera");
  await page.waitForFunction(() => Number(document.querySelector("#stage").dataset.frames) > 10);
  assert.match(await page.innerText("#status"), /^320 × 240, [\d.]+ frames a second$/);
  await page.waitForFunction(() => Number(document.querySelector("#stage").dataset.cuts) >= 2);
  const brightness = await page.evaluate(() =>
    ["before", "after"].map((id) => {
      const context = new OffscreenCanvas(32, 24).getContext("2d");
      context.drawImage(document.getElementById(id), 0, 0, 32, 24);
      const { data } = context.getImageData(0, 0, 32, 24);
      return data.filter((_, i) => i % 4 === 1).reduce((sum, value) => sum + value, 0);
    }),
  );
  assert.ok(brightness[1] > 1.05 * brightness[0], `${brightness}`);
  await page.click("#keep"); // ends the camera and opens the frame as a photo
  await page.waitForFunction(() => /^camera .*png$/.test(document.querySelector("#name").textContent));
  assert.equal(await page.innerText("#camera"), "Use the camera");
  await page.click("#camera");
  await page.waitForFunction(() => document.querySelector("#name").textContent === "Camera");
  await page.click("#camera");
  await page.waitForFunction(() => /^camera .*png$/.test(document.querySelector("#name").textContent));
  assert.deepEqual(trouble, []);
});

test("a camera that is not allowed gets a line, and the page goes on", async () => {
  strict = await launch("--use-fake-device-for-media-stream");
  const { page } = await openPage(strict, server.address, { permissions: [] });
  await page.context().clearPermissions();
  await page.click("#camera");
  await page.waitForSelector("#messages li");
  assert.match(await page.innerText("#messages li span"), /allow|camera/i);
  assert.equal(await page.innerText("#name"), "Example picture");
});
