// The light of a camera over time: the essentials of runtime/light/temporal.py. Each point of the log light map is a
// running mean since the picture last changed there, over at most a second, and starts again at a cut.

import { box } from "./light_map.js";
import { areaResized } from "./proxy.js";

const TIME_CONSTANT = 1; // seconds
const GAP = 1; // seconds without a frame after which nothing is carried over
const STILL = 0.02; // change of luma, blurred, below which a point is still, and from which it is new
const NEW = 0.07;
const SUDDEN = 0.04; // mean change of log2 luma between two frames that may be a cut ...
const SUDDEN_RATIO = 4; // ... if it is so much larger than those before it
const BLACK = 0.03; // added to luma before its logarithm
const CELLS = { height: 18, width: 32 }; // in which cuts are looked for, so that a moving camera is none

/** @typedef {import("./proxy.js").Size} Size */

export class CutDetector {
  /** @type {Float32Array | null} */
  #cells = null;
  #usual = 0; // change from frame to frame
  #last = 0;

  /**
   * Tell whether the frame with this luma begins a shot; to be called for each frame in turn.
   * @param {Float32Array} luma
   * @param {Size} size
   */
  isCut(luma, size) {
    const cells = areaResized(luma, size, CELLS, 1).map((y) => Math.log2(y + BLACK));
    const before = this.#cells;
    this.#cells = cells;
    if (!before) return false;
    const change = cells.reduce((sum, value, i) => sum + Math.abs(value - before[i]), 0) / cells.length;
    const cut = change > Math.max(SUDDEN, SUDDEN_RATIO * this.#usual);
    // A single cut says nothing about the shot; a fast camera, whose change continues, does.
    this.#usual += 0.5 * (Math.min(change, this.#last) - this.#usual);
    this.#last = change;
    return cut;
  }
}

export class TemporalFilter {
  #cuts = new CutDetector();
  #time = 0;
  /** @type {{light: Float32Array, luma: Float32Array, age: Float32Array} | null} */
  #state = null;
  /** How many cuts it has seen. */
  cuts = 0;

  /**
   * Filter one frame's light.
   * @param {Float32Array} log log2 of the light map
   * @param {Float32Array} luma
   * @param {Size} size of both
   * @param {number} time of the frame, in seconds
   * @returns {Float32Array} the steady log light map
   */
  filter(log, luma, size, time) {
    const elapsed = Math.max(time - this.#time, 1e-3);
    this.#time = time;
    const blurred = box(luma, size, 1);
    const cut = this.#cuts.isCut(luma, size);
    if (cut) this.cuts++;
    const state = this.#state;
    if (!state || cut || elapsed > GAP || state.light.length !== log.length) {
      this.#state = { light: log, luma: blurred, age: new Float32Array(log.length) };
      return log;
    }
    const light = new Float32Array(log.length);
    for (let i = 0; i < log.length; i++) {
      const changed = Math.min(Math.max((Math.abs(blurred[i] - state.luma[i]) - STILL) / (NEW - STILL), 1e-6), 1);
      // The weight of this frame is its share of the time averaged over, and at least what has changed.
      const age = Math.max(state.age[i], elapsed) + elapsed;
      const rate = Math.min(Math.max(elapsed / Math.min(age, TIME_CONSTANT), changed), 1);
      state.age[i] = elapsed / rate;
      light[i] = state.light[i] + rate * (log[i] - state.light[i]);
      state.luma[i] += rate * (blurred[i] - state.luma[i]);
    }
    state.light = light;
    return light;
  }
}
