// The proxy: the small picture the network sees, and its luma, which guides the light map (runtime/light/proxy.py).

import { LONGEST_SIDE, LUMA_WEIGHTS, VISIBLE } from "./constants.js";

/**
 * What the build reads in the model's file.
 * @typedef {object} ModelInfo
 * @property {string} file name of the model beside the page
 * @property {string} name
 * @property {number} proxyShortSide of the small picture that the network wants to see
 * @property {number} multiple height and width must be multiples of this
 * @property {boolean} takesMasks whether negative samples tell it what is not picture
 * @property {[number, number, number] | null} shape (N, H, W) of a model of one size
 */

/** @typedef {{height: number, width: number}} Size */

/**
 * @typedef {object} Proxy
 * @property {Size} size
 * @property {Float32Array} rgb height * width * 3 in [0, 1], gamma-coded
 * @property {Float32Array} luma height * width
 * @property {Uint8Array | null} hidden 1 where the picture is transparent; null where nothing is
 */

/**
 * Compute the size of the proxy: the given short side, same aspect, sides rounded to multiples.
 * @param {Size} picture
 * @param {ModelInfo} model
 * @returns {Size}
 */
export function proxySize({ height, width }, { proxyShortSide, multiple, shape }) {
  if (shape) return { height: shape[1], width: shape[2] };
  const scale = Math.min(1, proxyShortSide / Math.min(height, width), LONGEST_SIDE / Math.max(height, width));
  const side = (/** @type {number} */ full) => Math.max(1, roundHalfEven((full * scale) / multiple)) * multiple;
  return { height: side(height), width: side(width) };
}

/**
 * Round as Python does: halves to the even neighbour.
 * @param {number} x
 */
export function roundHalfEven(x) {
  const low = Math.floor(x);
  const rest = x - low;
  if (rest !== 0.5) return Math.round(x);
  return low % 2 === 0 ? low : low + 1;
}

/**
 * Make a proxy of shrunk samples.
 * @param {Uint8Array} samples RGBA; where `weighted`, alpha is the share that is seen, which colours do not contain
 * @param {Size} size
 * @param {boolean} weighted whether any pixel of the picture is fully transparent
 * @returns {Proxy}
 */
export function proxyOf(samples, size, weighted) {
  const count = size.height * size.width;
  let rgb = new Float32Array(count * 3);
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < 3; c++) rgb[3 * i + c] = samples[4 * i + c] / 255;
  }
  let hidden = null;
  if (weighted) {
    const weight = new Float32Array(count);
    const product = new Float32Array(count * 3);
    hidden = new Uint8Array(count);
    for (let i = 0; i < count; i++) {
      weight[i] = samples[4 * i + 3] / 255;
      hidden[i] = weight[i] < VISIBLE ? 1 : 0;
      for (let c = 0; c < 3; c++) product[3 * i + c] = rgb[3 * i + c] * weight[i];
    }
    rgb = filled(product, weight, size);
  }
  const luma = new Float32Array(count);
  const [r, g, b] = LUMA_WEIGHTS;
  for (let i = 0; i < count; i++) luma[i] = r * rgb[3 * i] + g * rgb[3 * i + 1] + b * rgb[3 * i + 2];
  return { size, rgb, luma, hidden };
}

/**
 * Divide colours by their weight, and make up those that have none from what is around: pull-push (Gortler, Grzeszczuk,
 * Szeliski and Cohen, SIGGRAPH 1996).
 * @param {Float32Array} weighted height * width * 3
 * @param {Float32Array} weight height * width
 * @param {Size} size
 * @returns {Float32Array<ArrayBuffer>}
 */
export function filled(weighted, weight, size) {
  const count = weight.length;
  const colours = new Float32Array(count * 3);
  let seen = 0;
  for (let i = 0; i < count; i++) {
    const by = Math.max(weight[i], VISIBLE);
    if (weight[i] >= VISIBLE) seen++;
    for (let c = 0; c < 3; c++) colours[3 * i + c] = weighted[3 * i + c] / by;
  }
  if (seen === 0 || seen === count) return colours;
  const half = { height: Math.ceil(size.height / 2), width: Math.ceil(size.width / 2) };
  const small = filled(areaResized(weighted, size, half, 3), areaResized(weight, size, half, 1), half);
  const around = linearResized(small, half, size, 3);
  for (let i = 0; i < count; i++) {
    if (weight[i] < VISIBLE) for (let c = 0; c < 3; c++) colours[3 * i + c] = around[3 * i + c];
  }
  return colours;
}

/**
 * Shrink by averaging over areas.
 * @param {Float32Array} values from.height * from.width * channels
 * @param {Size} from
 * @param {Size} to
 * @param {number} channels
 */
export function areaResized(values, from, to, channels) {
  const rows = spans(from.height, to.height);
  const columns = spans(from.width, to.width);
  const result = new Float32Array(to.height * to.width * channels);
  for (let y = 0; y < to.height; y++) {
    for (let x = 0; x < to.width; x++) {
      const at = (y * to.width + x) * channels;
      for (const [row, down] of rows[y]) {
        for (const [column, across] of columns[x]) {
          const source = (row * from.width + column) * channels;
          for (let c = 0; c < channels; c++) result[at + c] += down * across * values[source + c];
        }
      }
    }
  }
  return result;
}

/**
 * For each of `count` equal parts of a side: which samples lie in it, and their share of it.
 * @param {number} side
 * @param {number} count
 * @returns {[number, number][][]}
 */
function spans(side, count) {
  const step = side / count;
  return Array.from({ length: count }, (_, i) => {
    const first = i * step;
    const last = Math.min((i + 1) * step, side);
    /** @type {[number, number][]} */
    const parts = [];
    for (let at = Math.floor(first); at < last; at++) {
      const share = (Math.min(at + 1, last) - Math.max(at, first)) / step;
      if (share > 1e-9) parts.push([at, share]);
    }
    return parts;
  });
}

/**
 * Enlarge or shrink by bilinear interpolation; edges continue.
 * @param {Float32Array} values from.height * from.width * channels
 * @param {Size} from
 * @param {Size} to
 * @param {number} channels
 */
export function linearResized(values, from, to, channels) {
  const result = new Float32Array(to.height * to.width * channels);
  for (let y = 0; y < to.height; y++) {
    const [top, bottom, down] = neighbours(y, from.height, to.height);
    for (let x = 0; x < to.width; x++) {
      const [left, right, across] = neighbours(x, from.width, to.width);
      for (let c = 0; c < channels; c++) {
        const at = (/** @type {number} */ row, /** @type {number} */ column) =>
          values[(row * from.width + column) * channels + c];
        const above = at(top, left) * (1 - across) + at(top, right) * across;
        const below = at(bottom, left) * (1 - across) + at(bottom, right) * across;
        result[(y * to.width + x) * channels + c] = above * (1 - down) + below * down;
      }
    }
  }
  return result;
}

/**
 * @param {number} i
 * @param {number} from
 * @param {number} to
 * @returns {[number, number, number]} both neighbours of sample `i` of `to`, and the weight of the second
 */
function neighbours(i, from, to) {
  const at = Math.min(Math.max(((i + 0.5) * from) / to - 0.5, 0), from - 1);
  const low = Math.floor(at);
  return [low, Math.min(low + 1, from - 1), at - low];
}
