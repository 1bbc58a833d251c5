// The camera: its newest frame is handed on whenever the last one is done; those in between are left out.

/**
 * @typedef {object} Live
 * @property {HTMLVideoElement} video
 * @property {() => void} stop
 */

/**
 * Start a camera. Raises an Error with a line for the visitor.
 * @param {string} device id of a camera, "" for the browser's choice
 * @param {(frame: ImageBitmap, time: number) => Promise<void>} handle called with a frame and its time in seconds
 * @param {(reason: string) => void} ended called when the camera is taken away
 * @returns {Promise<Live>}
 */
export async function startCamera(device, handle, ended) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error("No camera here: browsers allow one on https:// and on localhost only.");
  }
  const size = { width: { ideal: 1280 }, height: { ideal: 720 } };
  const stream = await navigator.mediaDevices
    .getUserMedia({ audio: false, video: device ? { deviceId: { exact: device }, ...size } : size })
    .catch((error) => {
      throw new Error(REASONS[/** @type {keyof typeof REASONS} */ (error.name)] ?? `The camera does not start: ${error.message}`);
    });
  const video = document.createElement("video");
  video.muted = true;
  video.playsInline = true;
  video.srcObject = stream;
  await video.play();
  let running = true;
  const stop = () => {
    running = false;
    for (const track of stream.getTracks()) track.stop();
  };
  stream.getVideoTracks()[0].addEventListener("ended", () => {
    if (running) ended("The camera was taken away.");
  });
  const next = async () => {
    if (!running) return;
    try {
      const frame = await createImageBitmap(video);
      await handle(frame, performance.now() / 1000);
    } catch (error) {
      if (running) ended(error instanceof Error ? error.message : String(error));
      return;
    }
    if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback(next);
    else requestAnimationFrame(next);
  };
  next();
  return { video, stop };
}

const REASONS = {
  NotAllowedError: "The browser was not allowed to use the camera; allow it beside the page's address.",
  NotFoundError: "No camera found.",
  NotReadableError: "The camera is used by another program.",
  OverconstrainedError: "That camera is gone; choose another one.",
};

/** @returns {Promise<{id: string, label: string}[]>} the cameras, whose names are known once one was allowed */
export async function cameras() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices
    .filter(({ kind }) => kind === "videoinput")
    .map(({ deviceId, label }, i) => ({ id: deviceId, label: label || `Camera ${i + 1}` }));
}
