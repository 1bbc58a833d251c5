// The light map between the network and the pixels: bounded, in the log domain, made to follow edges by a guided filter
// (He, Sun and Tang, PAMI 2013) whose coefficients are applied at full size (runtime/light/light_map.py).

import { GUIDE_EPSILON, GUIDE_RADIUS } from "./constants.js";

/** @typedef {import("./proxy.js").Size} Size */

/**
 * log2 L = clip(slope * luma + offset, floor, 0) at every full-size pixel, luma in [0, 1].
 * @typedef {object} Coefficients
 * @property {Size} size of the maps, which are enlarged bilinearly
 * @property {Float32Array} slope
 * @property {Float32Array} offset
 * @property {number} floor
 */

/**
 * Compute log2 of the light map clamped to [1 / maxGain, 1]; NaN counts as 1 (no gain).
 * @param {Float32Array} light
 * @param {number} maxGain
 */
export function logLight(light, maxGain) {
  return light.map((value) => Math.log2(Math.min(Math.max(Number.isNaN(value) ? 1 : value, 1 / maxGain), 1)));
}

/**
 * Compute edge-aware coefficients from a log light map and the proxy's luma.
 * @param {Float32Array} log
 * @param {Float32Array} luma
 * @param {Size} size of both
 * @param {number} maxGain
 * @returns {Coefficients}
 */
export function guidedCoefficients(log, luma, size, maxGain) {
  const meanY = box(luma, size);
  const meanL = box(log, size);
  const meanYL = box(luma.map((y, i) => y * log[i]), size);
  const meanYY = box(luma.map((y) => y * y), size);
  const slope = meanYL.map((yl, i) => (yl - meanY[i] * meanL[i]) / (meanYY[i] - meanY[i] * meanY[i] + GUIDE_EPSILON));
  const offset = meanL.map((l, i) => l - slope[i] * meanY[i]);
  return { size, slope: box(slope, size), offset: box(offset, size), floor: -Math.log2(maxGain) };
}

/**
 * Average over a square window; edges continue.
 * @param {Float32Array} values
 * @param {Size} size
 * @param {number} radius
 */
export function box(values, { height, width }, radius = GUIDE_RADIUS) {
  const across = new Float32Array(values.length);
  for (let y = 0; y < height; y++) runningMean(values, across, y * width, 1, width, radius);
  const both = new Float32Array(values.length);
  for (let x = 0; x < width; x++) runningMean(across, both, x, width, height, radius);
  return both;
}

/**
 * Average along one line of `count` samples, `step` apart from `start` on.
 * @param {Float32Array} source
 * @param {Float32Array} target
 * @param {number} start
 * @param {number} step
 * @param {number} count
 * @param {number} radius
 */
function runningMean(source, target, start, step, count, radius) {
  const at = (/** @type {number} */ i) => source[start + step * Math.min(Math.max(i, 0), count - 1)];
  const window = 2 * radius + 1;
  let sum = 0;
  for (let i = -radius; i <= radius; i++) sum += at(i);
  for (let i = 0; i < count; i++) {
    target[start + step * i] = sum / window;
    sum += at(i + radius + 1) - at(i - radius);
  }
}
