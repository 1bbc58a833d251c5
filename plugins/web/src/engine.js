// The worker, seen from the page: one request after the other.

/** @typedef {import("./worker.js").Request} Request */

export class Engine {
  #worker;
  #id = 0;
  /** @type {Promise<unknown>} */
  #last = Promise.resolve();
  /** @type {Map<number, {resolve: (answer: any) => void, reject: (error: Error) => void}>} */
  #waiting = new Map();

  constructor() {
    // Started from a blob, the worker is under the page's own Content-Security-Policy, wherever the page is hosted.
    const script = `import ${JSON.stringify(new URL("worker.js", document.baseURI).href)};`;
    const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    this.#worker = new Worker(address, { type: "module" });
    this.#worker.addEventListener("message", ({ data: { id, answer, error } }) => {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(answer);
      else waiting?.reject(new Error(error));
    });
    this.#worker.addEventListener("error", (event) => {
      const error = new Error(event.message || "worker.js did not start; the page was not copied completely");
      for (const { reject } of this.#waiting.values()) reject(error);
      this.#waiting.clear();
    });
  }

  /**
   * Have a request answered, after those before it.
   * @param {Request} request
   * @param {Transferable[]} [transfer]
   * @returns {Promise<any>}
   */
  ask(request, transfer = []) {
    const answer = this.#last.then(
      () =>
        new Promise((resolve, reject) => {
          this.#waiting.set(++this.#id, { resolve, reject });
          this.#worker.postMessage({ id: this.#id, request }, transfer);
        }),
    );
    this.#last = answer.catch(() => {});
    return answer;
  }
}
