// The way of a picture: bars, proxy, network, log light map, edges, gain (runtime/enhancer.py and light/relighting.py).

import { pictureArea } from "./light/bars.js";
import { guidedCoefficients, logLight } from "./light/light_map.js";
import { ChromaNoise, chromaNoise } from "./light/noise.js";
import { proxyOf, proxySize } from "./light/proxy.js";
import { TemporalFilter } from "./light/temporal.js";

/** @typedef {import("./light/bars.js").Area} Area */
/** @typedef {import("./light/proxy.js").Size} Size */
/** @typedef {import("./light/proxy.js").Proxy} Proxy */
/** @typedef {import("./gpu.js").Gpu} Gpu */
/** @typedef {import("./gpu.js").Source} Source */
/** @typedef {import("./network.js").Network} Network */

/**
 * @typedef {object} Settings
 * @property {number} strength 0 to 2: exponent on the gain
 * @property {number} maxGain 1 to 256
 * @property {boolean} lightMap show the light map instead
 */

/**
 * What is known of a picture: what the network said, and what was measured.
 * @typedef {object} Light
 * @property {Area} area the part between bars, which the maps are of
 * @property {Proxy} proxy
 * @property {Float32Array} light
 * @property {number} noise of chroma, of full scale
 * @property {boolean} opaque whether nothing of the picture is transparent
 */

const TILE = 1024; // pixels a side that are read back at a time

export class Relighter {
  /** @type {TemporalFilter} */
  #temporal = new TemporalFilter();
  #noise = new ChromaNoise();

  /**
   * @param {Gpu} gpu
   * @param {Network} network
   */
  constructor(gpu, network) {
    this.gpu = gpu;
    this.network = network;
  }

  /**
   * Ask the network about a picture, and measure its noise.
   * @param {Source} source
   * @param {number | null} [time] of a camera's frame, in seconds: its noise is measured now and then
   * @returns {Promise<Light>}
   */
  async look(source, time = null) {
    const area = pictureArea(this.gpu.reader(source), source.size);
    const seen = { height: area.bottom - area.top, width: area.right - area.left };
    const size = proxySize(seen, this.network.info);
    let samples = this.gpu.shrink(source, area, size, false);
    const leastAlpha = samples.reduce((least, value, i) => (i % 4 === 3 && value < least ? value : least), 255);
    const weighted = leastAlpha === 0;
    if (weighted) samples = this.gpu.shrink(source, area, size, true);
    const proxy = proxyOf(samples, size, weighted);
    const measure = () => chromaNoise(this.gpu.blockReader(source, area), seen);
    const noise = time === null ? measure() : this.#noise.follow(measure, time);
    return { area, proxy, light: await this.network.light(proxy), noise, opaque: leastAlpha === 255 };
  }

  /**
   * Set the light that the next drawings are made with; needs no run of the network.
   * @param {Light} light
   * @param {Settings} settings
   */
  setLight({ proxy, light, noise }, { maxGain }) {
    const log = logLight(light, maxGain);
    this.gpu.setCoefficients(guidedCoefficients(log, proxy.luma, proxy.size, maxGain), noise);
  }

  /**
   * The same for a camera's frame at `time`, in seconds: its light is steadied over time.
   * @param {Light} light
   * @param {Settings} settings
   * @param {number} time
   */
  setSteadyLight({ proxy, light, noise }, { maxGain }, time) {
    const log = this.#temporal.filter(logLight(light, maxGain), proxy.luma, proxy.size, time);
    this.gpu.setCoefficients(guidedCoefficients(log, proxy.luma, proxy.size, maxGain), noise);
  }

  /** How many cuts there were in the recording. */
  get cuts() {
    return this.#temporal.cuts;
  }

  /** Begin another recording. */
  restart() {
    this.#temporal = new TemporalFilter();
    this.#noise = new ChromaNoise();
  }

  /**
   * Relight a picture at full size.
   * @param {Source} source
   * @param {Light} light
   * @param {Settings} settings
   * @returns {OffscreenCanvas}
   */
  fullSize(source, light, settings) {
    this.setLight(light, settings);
    const { height, width } = source.size;
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    if (!context) throw new Error(`${width}x${height}: too large for this browser's memory; use cliplit-image`);
    for (let top = 0; top < height; top += TILE) {
      for (let left = 0; left < width; left += TILE) {
        const tile = { top, left, bottom: Math.min(top + TILE, height), right: Math.min(left + TILE, width) };
        const samples = this.gpu.relight(source, light.area, tile, settings.strength);
        const pixels = new Uint8ClampedArray(/** @type {ArrayBuffer} */ (samples.buffer));
        context.putImageData(new ImageData(pixels, tile.right - left, tile.bottom - top), left, top);
      }
    }
    return canvas;
  }
}
