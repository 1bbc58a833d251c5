// The network, by ONNX Runtime: in WebGPU where that works, else in WebAssembly.

/** @typedef {import("./light/proxy.js").ModelInfo} ModelInfo */
/** @typedef {import("./light/proxy.js").Proxy} Proxy */
/** @typedef {typeof import("onnxruntime-web")} Runtime */

const PATIENCE = 20_000; // milliseconds for WebGPU to answer once; a broken driver may never

export class Network {
  /**
   * @param {Runtime} runtime
   * @param {import("onnxruntime-web").InferenceSession} session
   * @param {ModelInfo} info
   * @param {string} backend "WebGPU" or "WebAssembly"
   */
  constructor(runtime, session, info, backend) {
    this.runtime = runtime;
    this.session = session;
    this.info = info;
    this.backend = backend;
  }

  /**
   * Open the model with what this browser has.
   * @param {ModelInfo} info
   * @param {URL} folder where the page's files are
   */
  static async open(info, folder) {
    if (typeof WebAssembly !== "object") throw new Error("this browser has no WebAssembly, which the network runs in");
    const answer = await fetch(new URL(info.file, folder));
    if (!answer.ok) throw new Error(`${info.file}: not found (${answer.status}); the page was not copied completely`);
    const model = new Uint8Array(await answer.arrayBuffer());
    if (await hasWebGpu()) {
      try {
        return await Promise.race([Network.#onWebGpu(model, info, folder), late(PATIENCE)]);
      } catch (error) {
        console.info("going on without WebGPU:", error);
      }
    }
    return Network.#create(await import("onnxruntime-web/wasm"), model, info, folder, "WebAssembly");
  }

  /**
   * @param {Uint8Array} model
   * @param {ModelInfo} info
   * @param {URL} folder
   */
  static async #onWebGpu(model, info, folder) {
    const network = await Network.#create(await import("onnxruntime-web/jspi"), model, info, folder, "WebGPU");
    await network.check();
    return network;
  }

  /**
   * @param {Runtime} runtime
   * @param {Uint8Array} model
   * @param {ModelInfo} info
   * @param {URL} folder
   * @param {"WebGPU" | "WebAssembly"} backend
   */
  static async #create(runtime, model, info, folder, backend) {
    const file = backend === "WebGPU" ? "ort-wasm-simd-threaded.jspi" : "ort-wasm-simd-threaded";
    runtime.env.wasm.wasmPaths = {
      mjs: new URL(`${file}.mjs`, folder).href,
      wasm: new URL(`${file}.wasm`, folder).href,
    };
    runtime.env.logLevel = "error"; // which layers run where is nobody's business
    const session = await runtime.InferenceSession.create(model, {
      executionProviders: [backend === "WebGPU" ? "webgpu" : "wasm"],
    });
    return new Network(runtime, session, info, backend);
  }

  /** Run once on grey. Raises an Error where a driver gives what is no light map. */
  async check() {
    const side = Math.max(64, this.info.multiple);
    const size = this.info.shape ? { height: this.info.shape[1], width: this.info.shape[2] } : { height: side, width: side };
    const count = size.height * size.width;
    const grey = new Float32Array(3 * count).fill(0.2);
    await this.light({ size, rgb: grey, luma: grey.subarray(count), hidden: null });
  }

  /**
   * Compute the light map of a proxy, of its size.
   * @param {Proxy} proxy
   * @returns {Promise<Float32Array>}
   */
  async light({ size, rgb, hidden }) {
    const count = size.height * size.width;
    const planes = new Float32Array(3 * count);
    for (let i = 0; i < count; i++) {
      const masked = hidden?.[i] && this.info.takesMasks;
      for (let c = 0; c < 3; c++) planes[c * count + i] = masked ? -1 : rgb[3 * i + c];
    }
    const input = new this.runtime.Tensor("float32", planes, [1, 3, size.height, size.width]);
    const results = await this.session.run({ [this.session.inputNames[0]]: input });
    const light = /** @type {Float32Array} */ (await results[this.session.outputNames[0]].getData());
    if (light.length !== count || !light.every(Number.isFinite)) throw new Error("the network gave no light map");
    return light;
  }
}

/** Tell whether WebGPU has an adapter, and WebAssembly waits for it (JSPI). */
async function hasWebGpu() {
  const gpu = /** @type {any} */ (navigator).gpu;
  if (!gpu || !("Suspending" in WebAssembly)) return false;
  return Boolean(await gpu.requestAdapter().catch(() => null));
}

/**
 * @param {number} milliseconds
 * @returns {Promise<never>}
 */
const late = (milliseconds) =>
  new Promise((_, reject) => setTimeout(() => reject(new Error(`no answer in ${milliseconds / 1000} seconds`)), milliseconds));
