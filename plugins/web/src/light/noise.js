// The noise of chroma in a picture's dark parts, measured in blocks sampled at full size and at half size
// (runtime/light/noise.py, where the reasons for the numbers stand). A test holds both to the same answers.

import { roundHalfEven } from "./proxy.js";
import { INNER_WHITE, TO_CB, TO_CR, TO_Y } from "./shadows.js";

/** @typedef {import("./proxy.js").Size} Size */

/**
 * Reads `side` x `side` pixels from each of the rows `tops` and the columns `lefts` on; those beyond the picture repeat
 * its last ones. Returns RGBA of a picture of tops.length * side rows and lefts.length * side columns.
 * @typedef {(tops: number[], lefts: number[], side: number) => Uint8Array} ReadBlocks
 */

export const BLOCK = 16;
export const ROWS = 15; // sampled blocks
export const COLUMNS = 20;
export const DARKEST = 0.012; // mean luma of the blocks that count
export const DARK = 0.3;
export const FEWEST = 8; // blocks needed for an answer
export const LARGEST_STEP = 0.03; // that one block adds to the mean step on JPEG's grid
export const GRID_WEIGHT = 1.5; // of those steps next to noise
export const SETTLING = 0.5; // seconds in which a camera's noise follows
export const INTERVAL = 0.15; // seconds between measurements of a camera

/**
 * Estimate the standard deviation of chroma noise, of full scale; 0 where too few blocks are dark.
 * @param {ReadBlocks} read
 * @param {Size} size
 */
export function chromaNoise(read, size) {
  let largest = 0;
  for (const halving of [1, 2]) {
    const height = roundHalfEven(size.height / halving);
    const width = roundHalfEven(size.width / halving);
    const tops = starts(height, ROWS);
    const lefts = starts(width, COLUMNS);
    if (tops.length * lefts.length > 0) {
      const scaled = (/** @type {number[]} */ places) => places.map((place) => place * halving);
      const samples = read(scaled(tops), scaled(lefts), BLOCK * halving);
      largest = Math.max(largest, noiseOf(planesOf(samples, lefts.length * BLOCK, halving), tops.length, lefts.length));
    }
    if (Math.min(height, width) < 2 * BLOCK) break;
  }
  return largest;
}

/**
 * Where blocks begin along a side: on an even grid, at multiples of 8.
 * @param {number} side
 * @param {number} most
 */
function starts(side, most) {
  if (side < BLOCK) return [];
  const count = Math.min(most, Math.max(1, Math.floor(side / BLOCK)));
  const last = side - BLOCK;
  const step = last / Math.max(1, count - 1);
  const places = Array.from({ length: count }, (_, i) => (i > 0 && i === count - 1 ? last : Math.floor(i * step)));
  return [...new Set(places.map((place) => place - (place % 8)))];
}

/**
 * Compute Y', Cb and Cr of 14 bits, Cb and Cr around 0, and halve them.
 * @param {Uint8Array} samples RGBA
 * @param {number} width of the planes
 * @param {number} halving 1 or 2
 * @returns {Int32Array[]}
 */
function planesOf(samples, width, halving) {
  const count = samples.length / (4 * halving * halving);
  const [luma, cb, cr] = [0, 1, 2].map(() => new Int32Array(count));
  const code = INNER_WHITE / 255;
  const [red, green, blue] = TO_Y;
  const across = width * halving;
  for (let row = 0, i = 0; i < samples.length; row++) {
    const start = Math.floor(row / halving) * width;
    for (let x = 0; x < across; x++, i += 4) {
      const at = start + (halving === 2 ? x >> 1 : x);
      const r = samples[i] * code;
      const b = samples[i + 2] * code;
      const y = (r * red + samples[i + 1] * code * green + b * blue + 8192) >> 14;
      luma[at] += y;
      cb[at] += ((b - y) * TO_CB + 8192) >> 14;
      cr[at] += ((r - y) * TO_CR + 8192) >> 14;
    }
  }
  const planes = [luma, cb, cr];
  return halving === 1 ? planes : planes.map((plane) => plane.map((sum) => (sum + 2) >> 2));
}

/**
 * @param {Int32Array[]} planes of the blocks, side by side
 * @param {number} rows
 * @param {number} columns
 */
function noiseOf([luma, ...chromas], rows, columns) {
  const width = columns * BLOCK;
  /** @type {number[]} where the dark blocks begin */
  const dark = [];
  for (let block = 0; block < rows * columns; block++) {
    const start = Math.floor(block / columns) * BLOCK * width + (block % columns) * BLOCK;
    let sum = 0;
    for (let i = 0; i < BLOCK * BLOCK; i++) sum += luma[start + (i >> 4) * width + (i & 15)];
    const mean = sum / (BLOCK * BLOCK * INNER_WHITE);
    if (mean > DARKEST && mean < DARK) dark.push(start);
  }
  if (dark.length < FEWEST) return 0;
  return Math.max(
    ...chromas.flatMap((chroma) => [
      median(Float64Array.from(dark, (start) => blockNoise(chroma, start, width))),
      GRID_WEIGHT * gridSteps(chroma, dark, width),
    ]),
  );
}

/**
 * Estimate the noise of one block (Immerkaer, CVIU 1996).
 * @param {Int32Array} plane
 * @param {number} start
 * @param {number} width
 */
function blockNoise(plane, start, width) {
  const across = new Int32Array(BLOCK * (BLOCK - 2)); // curved along rows
  for (let y = 0, i = 0; y < BLOCK; y++) {
    for (let x = 1; x < BLOCK - 1; x++, i++) {
      const at = start + y * width + x;
      across[i] = 2 * plane[at] - plane[at - 1] - plane[at + 1];
    }
  }
  const inner = BLOCK - 2;
  const curved = new Int32Array(inner * inner);
  for (let i = 0; i < curved.length; i++) {
    curved[i] = Math.abs(2 * across[i + inner] - across[i] - across[i + 2 * inner]);
  }
  return median(curved) / (0.6745 * 6 * INNER_WHITE);
}

/**
 * Compute how much larger steps on the 8x8 grid are than beside it, of full scale.
 * @param {Int32Array} plane
 * @param {number[]} blocks where they begin
 * @param {number} width
 */
function gridSteps(plane, blocks, width) {
  const steps = new Float64Array(BLOCK - 1);
  let sum = 0;
  for (const start of blocks) {
    for (const [along, across] of [[1, width], [width, 1]]) {
      for (let i = 5; i < 10; i++) {
        steps[i] = 0;
        for (let line = 0; line < BLOCK; line++) {
          const at = start + line * across + i * along;
          steps[i] += Math.abs(plane[at + along] - plane[at]);
        }
      }
      const excess = (steps[7] - (steps[5] + steps[6] + steps[8] + steps[9]) / 4) / (BLOCK * INNER_WHITE);
      sum += Math.min(Math.max(excess, -LARGEST_STEP), LARGEST_STEP);
    }
  }
  return Math.max(0, sum / (2 * blocks.length));
}

/** @param {Int32Array | Float64Array} values, which change places */
function median(values) {
  const middle = values.length >> 1;
  const upper = smallest(values, middle);
  if (values.length % 2) return upper;
  let lower = values[0]; // the largest of those before
  for (let i = 1; i < middle; i++) lower = Math.max(lower, values[i]);
  return (lower + upper) / 2;
}

/**
 * Find the value that `place` has when they are sorted, and move what is smaller before it (Hoare, CACM 1961).
 * @param {Int32Array | Float64Array} values
 * @param {number} place
 */
function smallest(values, place) {
  let first = 0;
  let last = values.length - 1;
  while (first < last) {
    const pivot = values[place];
    let i = first;
    let j = last;
    while (i <= j) {
      while (values[i] < pivot) i++;
      while (values[j] > pivot) j--;
      if (i <= j) {
        const value = values[i];
        values[i++] = values[j];
        values[j--] = value;
      }
    }
    if (j < place) first = i;
    if (i > place) last = j;
  }
  return values[place];
}

/** The chroma noise of a camera's frames, measured now and then and smoothed so that single frames do not show. */
export class ChromaNoise {
  /** @type {number | null} */
  #value = null;
  #goal = 0;
  #time = 0;
  #measured = 0;

  /**
   * Return the noise of the frame at `time`.
   * @param {() => number} measure
   * @param {number} time in seconds
   */
  follow(measure, time) {
    const elapsed = time - this.#time;
    this.#time = time;
    const continued = elapsed >= 0 && elapsed < 1;
    if (this.#value === null || !continued || time - this.#measured >= INTERVAL) {
      this.#goal = measure();
      this.#measured = time;
    }
    if (this.#value === null || !continued) this.#value = this.#goal;
    this.#value += (1 - Math.exp(-Math.max(elapsed, 0) / SETTLING)) * (this.#goal - this.#value);
    return this.#value;
  }
}
