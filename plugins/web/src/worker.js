// The worker: decoding, network, coefficients and drawing, so that the page itself never waits.
//
// It takes one request after the other; `main.js` sends the next one when it has the answer.

import { decode, FileError } from "./files.js";
import { Gpu } from "./gpu.js";
import { Network } from "./network.js";
import { Relighter } from "./relighter.js";

/** @typedef {import("./light/proxy.js").Size} Size */
/** @typedef {import("./relighter.js").Settings} Settings */
/** @typedef {import("./relighter.js").Light} Light */
/** @typedef {import("./gpu.js").Source} Source */

/**
 * What the page asks for.
 * @typedef {{kind: "start", folder: string}
 *   | {kind: "open", picture: number, file: Blob, name: string}
 *   | {kind: "draw", size: Size, settings: Settings, before: boolean}
 *   | {kind: "save", settings: Settings, format: "png" | "jpeg"}
 *   | {kind: "frame", bitmap: ImageBitmap, time: number, size: Size, settings: Settings, first: boolean}} Request
 */

const MODEL = __MODEL__; // put there by build.mjs
const JPEG_QUALITY = 0.95;

/** @type {Relighter} */
let relighter;
/** @type {Map<number, Light>} what the network said about the pictures so far */
const lights = new Map();
/** @type {{source: Source, light: Light, name: string} | null} */
let shown = null;
/** @type {Source | null} */
let frame = null;

/** @type {{[kind: string]: (request: any) => Promise<[object, Transferable[]?]>}} */
const answers = {
  async start({ folder }) {
    const gpu = new Gpu();
    relighter = new Relighter(gpu, await Network.open(MODEL, new URL(folder)));
    return [{ backend: relighter.network.backend, model: MODEL.name }];
  },

  async open({ picture, file, name }) {
    const { bitmap, notes } = await decode(file, name, relighter.gpu.longest);
    if (shown) relighter.gpu.free(shown.source);
    shown = null;
    const source = relighter.gpu.upload(bitmap);
    bitmap.close();
    const light = lights.get(picture) ?? (await relighter.look(source));
    lights.set(picture, light);
    shown = { source, light, name };
    return [{ size: source.size, notes }];
  },

  async draw({ size, settings, before }) {
    if (!shown) throw new Error("there is no picture to draw");
    const { source, light } = shown;
    relighter.setLight(light, settings);
    const { gpu } = relighter;
    const after = gpu.draw(source, light.area, size, settings);
    if (!before) return [{ after }, [after]];
    const unchanged = gpu.draw(source, light.area, size, { strength: 0 });
    return [{ after, before: unchanged }, [after, unchanged]];
  },

  async save({ settings, format }) {
    if (!shown) throw new Error("there is no picture to save");
    if (format === "jpeg" && !shown.light.opaque) {
      throw new FileError(`${shown.name}: JPEG cannot hold its transparency; save it as PNG`);
    }
    const canvas = relighter.fullSize(shown.source, shown.light, settings);
    const blob = await canvas.convertToBlob({ type: `image/${format}`, quality: JPEG_QUALITY });
    return [{ blob }];
  },

  async frame({ bitmap, time, size, settings, first }) {
    if (first) relighter.restart();
    frame = relighter.gpu.upload(bitmap, { mipmaps: false, into: frame });
    bitmap.close();
    const light = await relighter.look(frame, time);
    relighter.setSteadyLight(light, settings, time);
    const after = relighter.gpu.draw(frame, light.area, size, settings);
    const before = relighter.gpu.draw(frame, light.area, size, { strength: 0 });
    return [{ after, before, cuts: relighter.cuts }, [after, before]];
  },
};

addEventListener("message", async ({ data: { id, request } }) => {
  try {
    const [answer, transfer = []] = await answers[request.kind](request);
    postMessage({ id, answer }, { transfer });
  } catch (error) {
    if (!(error instanceof FileError)) console.warn(error);
    postMessage({ id, error: error instanceof Error ? error.message : String(error) });
  }
});
