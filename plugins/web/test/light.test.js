// The steps between network and shader, without a browser.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { pictureArea } from "../src/light/bars.js";
import { box, guidedCoefficients, logLight } from "../src/light/light_map.js";
import { ChromaNoise, chromaNoise } from "../src/light/noise.js";
import { proxySize, roundHalfEven } from "../src/light/proxy.js";
import { chromaGate, darkestOfRows } from "../src/light/shadows.js";
import { TemporalFilter } from "../src/light/temporal.js";
import { modelInfo } from "../model_info.mjs";
import { folder, python } from "./harness.js";

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

test("the numbers are Python's", async () => {
  const OWN = ["TO_Y", "TO_CB", "TO_CR", "TO_GRAY"]; // OpenCV's, which the pictures hold
  for (const [file, numbers] of Object.entries(python("constants"))) {
    const repeated = Object.entries(await import(`../src/light/${file}`)).filter(([name]) => /^[A-Z_]+$/.test(name) && !OWN.includes(name));
    assert.ok(repeated.length >= 5, file);
    for (const [name, value] of repeated) assert.deepEqual(value, numbers[name], `${name} of ${file}`);
  }
});

test("the noise of chroma is what Python measures", () => {
  const at = folder();
  const pictures = python("noise", at);
  for (const { name, height, width, noise } of pictures) {
    const samples = readFileSync(path.join(at, name));
    const read = (tops, lefts, side) => {
      const blocks = new Uint8Array(tops.length * lefts.length * side * side * 4);
      for (let y = 0; y < tops.length * side; y++) {
        for (let x = 0; x < lefts.length * side; x++) {
          const row = Math.min(tops[Math.floor(y / side)] + (y % side), height - 1);
          const from = 4 * (row * width + Math.min(lefts[Math.floor(x / side)] + (x % side), width - 1));
          blocks.set(samples.subarray(from, from + 4), 4 * (y * lefts.length * side + x));
        }
      }
      return blocks;
    };
    const found = chromaNoise(read, { height, width });
    assert.ok(Math.abs(found - noise) <= 1e-5 * noise, `${name}: ${found}, Python: ${noise}`);
  }
  assert.ok(pictures.filter(({ noise }) => noise > 0.002).length >= 5);
});

test("clean colours keep a narrow gate, and noise cannot open it further than twelve codes", () => {
  assert.deepEqual([0, 0.3 / 255, 0.8 / 255, 1].map(chromaGate), [96, 96, 288, 768]); // 64 to a code
});

test("a row is as dark as its neighbours, between which it is interpolated", () => {
  const maps = { size: { height: 4, width: 2 }, floor: -4, slope: Float32Array.of(0, 0, 1, -3, 0, 0, 0, 0), offset: new Float32Array(8) };
  assert.deepEqual(darkestOfRows(maps), [-3, -3, -3, 0]);
});

test("a camera's noise is measured now and then, and followed over half a second", () => {
  const noise = new ChromaNoise();
  let measured = 0;
  const measure = (value) => () => (measured++, value);
  assert.equal(noise.follow(measure(0.01), 10), 0.01);
  assert.equal(noise.follow(measure(0.02), 10.1), 0.01);
  assert.equal(measured, 1);
  const next = noise.follow(measure(0.02), 10.2);
  assert.equal(measured, 2);
  assert.ok(Math.abs(next - (0.02 - 0.01 * Math.exp(-0.1 / 0.5))) < 1e-9, `${next}`);
  assert.equal(noise.follow(measure(0.03), 12), 0.03);
});
