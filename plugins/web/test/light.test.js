// The steps between network and shader, without a browser.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { pictureArea } from "../src/light/bars.js";
import { box, guidedCoefficients, logLight } from "../src/light/light_map.js";
import { proxySize, roundHalfEven } from "../src/light/proxy.js";
import { TemporalFilter } from "../src/light/temporal.js";
import { modelInfo } from "../model_info.mjs";

const size = { height: 12, width: 16 };
const flat = (value) => new Float32Array(size.height * size.width).fill(value);

test("a mean over a window keeps what is flat and the sum of what is far from edges", () => {
  assert.ok(box(flat(0.25), size).every((value) => Math.abs(value - 0.25) < 1e-6));
  const point = flat(0);
  point[6 * size.width + 8] = 49;
  assert.ok(Math.abs(box(point, size)[6 * size.width + 8] - 1) < 1e-5);
});

test("a light of 1 gives coefficients that change nothing", () => {
  const { slope, offset } = guidedCoefficients(logLight(flat(1), 16), flat(0.3).map((y, i) => y + i / 1000), size, 16);
  assert.ok(slope.every((value) => Math.abs(value) < 1e-6) && offset.every((value) => Math.abs(value) < 1e-6));
});

test("the gain is bounded, and what is no number is no gain", () => {
  assert.deepEqual([...logLight(Float32Array.of(0, 0.5, 2, NaN), 16)], [-4, -1, 0, 0]);
});

test("a proxy has the short side and the multiples that the model wants, and halves go to even", () => {
  const model = { file: "", name: "", proxyShortSide: 192, multiple: 16, takesMasks: false, shape: null };
  assert.deepEqual(proxySize({ height: 1080, width: 1920 }, model), { height: 192, width: 336 });
  assert.deepEqual(proxySize({ height: 8, width: 8 }, model), { height: 16, width: 16 });
  assert.deepEqual([0.5, 1.5, 2.5, 2.4, 2.6].map(roundHalfEven), [0, 2, 2, 2, 3]);
});

test("bars are found, and noise has none", () => {
  const picture = { height: 120, width: 200 };
  const reader = (colour) => ({ columns, backwards, from, count, start, stop, step }) => {
    const across = Math.ceil((stop - start) / step);
    const samples = new Uint8Array(count * across * 4);
    for (let line = 0; line < count; line++) {
      for (let i = 0; i < across; i++) {
        const at = backwards ? (columns ? picture.width : picture.height) - 1 - from - line : from + line;
        const [x, y] = columns ? [at, start + i * step] : [start + i * step, at];
        samples.set([...colour(x, y), 255], (line * across + i) * 4);
      }
    }
    return samples;
  };
  const noise = (x, y) => Array(3).fill(60 + ((x * 7919 + y * 104729 + x * y * 31) % 150));
  assert.deepEqual(pictureArea(reader(noise), picture), { top: 0, bottom: 120, left: 0, right: 200 });
  const barred = (x, y) => (y < 20 || y >= 104 ? [0, 0, 0] : noise(x, y));
  assert.deepEqual(pictureArea(reader(barred), picture), { top: 20, bottom: 104, left: 0, right: 200 });
});

test("light is averaged over time while the picture stays, and starts again at a cut", () => {
  const filter = new TemporalFilter();
  filter.filter(flat(-1), flat(0.2), size, 0);
  const steady = filter.filter(flat(-2), flat(0.2), size, 1 / 30);
  assert.ok(steady[0] > -1.9 && steady[0] < -1, `${steady[0]}: between both`);
  assert.equal(filter.cuts, 0);
  assert.equal(filter.filter(flat(-3), flat(0.8), size, 2 / 30)[0], -3);
  assert.equal(filter.cuts, 1);
});

test("what changes in the picture is followed at once", () => {
  const filter = new TemporalFilter();
  const patch = (around, inside) =>
    flat(around).map((value, i) => (Math.abs((i % size.width) - 8) <= 1 && Math.abs(Math.floor(i / size.width) - 6) <= 2 ? inside : value));
  for (let i = 0; i < 5; i++) filter.filter(flat(-1), flat(0.2), size, i / 30);
  const light = filter.filter(patch(-1, -3), patch(0.2, 0.28), size, 5 / 30);
  assert.equal(filter.cuts, 0);
  assert.ok(light[6 * size.width + 8] < -2.9, `${light[6 * size.width + 8]}: new light where the picture changed`);
});

test("a file that is no model is refused", () => {
  assert.throws(() => modelInfo(readFileSync(new URL("../package.json", import.meta.url)), "package.json"), /not an ONNX model|without cliplit/);
});
