// The page: files in, settings, pictures out. All work on pictures is done in the worker.

import { slider } from "../components/slider.js";
import { themeButton } from "../components/theme.js";
import { cameras, startCamera } from "./camera.js";
import { Engine } from "./engine.js";
import { savedName } from "./files.js";

/** @typedef {import("./light/proxy.js").Size} Size */
/** @typedef {{id: number, file: Blob, name: string, thumbnail: HTMLCanvasElement, button: HTMLButtonElement}} Picture */

const EXAMPLE = "example.jpg";
const THUMBNAIL = { width: 176, height: 120 };

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
const element = (id) => /** @type {T} */ (document.getElementById(id));
const button = (/** @type {string} */ id) => /** @type {HTMLButtonElement} */ (element(id));
const input = (/** @type {string} */ id) => /** @type {HTMLInputElement} */ (element(id));

const stage = element("stage");
const before = /** @type {HTMLCanvasElement} */ (element("before"));
const after = /** @type {HTMLCanvasElement} */ (element("after"));
const saving = [button("save-jpeg"), button("save-png"), button("save-all")];

/** @type {Engine} */
let engine;
/** @type {Picture[]} */
const pictures = [];
/** @type {{id: number, file: Blob, name: string} | null} */
let shown = null;
/** @type {Size} of the picture that is shown */
let full = { height: 9, width: 16 };
/** @type {import("./camera.js").Live | null} */
let live = null;
let nextId = 0;
let firstFrame = true;
let about = "";

// ---------------------------------------------------------------- words

/** @param {string} text */
function status(text) {
  element("status").textContent = text;
}

/**
 * Show a line that stays until it is closed.
 * @param {string} text
 * @param {"trouble" | "note"} kind
 */
function message(text, kind = "trouble") {
  const line = document.createElement("li");
  line.className = kind;
  const words = document.createElement("span");
  words.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.textContent = "✕";
  close.setAttribute("aria-label", `Close: ${text}`);
  close.addEventListener("click", () => line.remove());
  line.append(words, close);
  element("messages").append(line);
}

/** @param {unknown} error */
const words = (error) => (error instanceof Error ? error.message : String(error));

/** @param {Size} size */
const dimensions = ({ width, height }) => `${width} × ${height}`;

// ---------------------------------------------------------------- settings

/** @returns {import("./relighter.js").Settings} */
function settings() {
  return {
    strength: Number(input("strength").value),
    maxGain: 2 ** Number(input("gain").value),
    lightMap: input("light-map").checked,
  };
}

function showSettings() {
  const { strength, maxGain, lightMap } = settings();
  element("strength-value").textContent = strength.toFixed(2);
  element("gain-value").textContent = `${maxGain < 10 ? maxGain.toFixed(1) : Math.round(maxGain)} ×`;
  input("gain").setAttribute("aria-valuetext", `${maxGain.toFixed(1)} times`);
  element("tag").textContent = lightMap ? "light map" : "after";
  after.setAttribute("aria-label", lightMap ? "Light map" : "After");
  const changed = input("strength").value !== input("strength").defaultValue || input("gain").value !== input("gain").defaultValue;
  button("reset").disabled = !changed;
}

for (const id of ["strength", "gain", "light-map"]) {
  input(id).addEventListener("input", () => {
    showSettings();
    redraw(false);
  });
}
button("reset").addEventListener("click", () => {
  for (const id of ["strength", "gain"]) input(id).value = input(id).defaultValue;
  showSettings();
  redraw(false);
  input("strength").focus();
});

// ---------------------------------------------------------------- drawing

/** @returns {Size} pixels of the screen that the picture takes, and no more than it has */
function drawnSize() {
  const { width } = stage.getBoundingClientRect();
  const wide = Math.max(1, Math.min(full.width, Math.round(width * devicePixelRatio)));
  return { width: wide, height: Math.max(1, Math.round((wide * full.height) / full.width)) };
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {ImageBitmap} bitmap
 */
function put(canvas, bitmap) {
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("bitmaprenderer")?.transferFromImageBitmap(bitmap);
}

/** @param {Size} size */
function setAspect(size) {
  full = size;
  stage.style.setProperty("--aspect", String(size.width / size.height));
}

let drawing = false;
let wanted = false;
let wantedBefore = false;

/**
 * Draw with the settings as they are when the worker is free; what changes meanwhile is drawn once, at the end.
 * @param {boolean} both whether what is before changes, too
 */
async function redraw(both) {
  if (live || !shown) return;
  wanted = true;
  wantedBefore ||= both;
  if (drawing) return;
  drawing = true;
  try {
    while (wanted && shown && !live) {
      const request = { kind: /** @type {const} */ ("draw"), size: drawnSize(), settings: settings(), before: wantedBefore };
      wanted = wantedBefore = false;
      const answer = await engine.ask(request);
      if (live) break;
      put(after, answer.after);
      if (answer.before) put(before, answer.before);
    }
  } catch (error) {
    message(words(error));
  } finally {
    drawing = false;
  }
}

let lastWidth = 0;
new ResizeObserver(() => {
  const { width } = drawnSize();
  if (width !== lastWidth) redraw(true);
  lastWidth = width;
}).observe(stage);

// ---------------------------------------------------------------- photos

/**
 * Open a picture and show it. Returns whether it could be read.
 * @param {{id: number, file: Blob, name: string}} picture
 */
async function show(picture) {
  stopCamera();
  stage.classList.add("busy");
  status("Reading …");
  try {
    const { size, notes } = await engine.ask({ kind: "open", picture: picture.id, file: picture.file, name: picture.name });
    setAspect(size);
    shown = picture;
    element("name").textContent = picture.name;
    status(dimensions(size));
    for (const note of notes) message(`${picture.name}: ${note}`, "note");
    for (const one of saving) one.disabled = false;
    for (const { id, button } of pictures) button.setAttribute("aria-current", String(id === picture.id));
    await redraw(true);
    return true;
  } catch (error) {
    message(words(error));
    status(shown ? dimensions(full) : "");
    return false;
  } finally {
    stage.classList.remove("busy");
  }
}

/** @param {Iterable<File>} files */
async function addFiles(files) {
  for (const file of files) {
    const picture = { id: nextId++, file, name: file.name || "pasted picture" };
    if (!(await show(picture))) {
      if (shown) await reopen(shown); // the worker has let go of it
      continue;
    }
    addToStrip(picture);
  }
}

/** @param {{id: number, file: Blob, name: string}} picture */
async function reopen(picture) {
  await engine.ask({ kind: "open", picture: picture.id, file: picture.file, name: picture.name }).catch(() => {});
}

/** @param {{id: number, file: Blob, name: string}} picture */
function addToStrip(picture) {
  const thumbnail = document.createElement("canvas");
  thumbnail.width = THUMBNAIL.width;
  thumbnail.height = THUMBNAIL.height;
  const scale = Math.max(THUMBNAIL.width / after.width, THUMBNAIL.height / after.height);
  const [wide, high] = [after.width * scale, after.height * scale];
  const [left, top] = [(THUMBNAIL.width - wide) / 2, (THUMBNAIL.height - high) / 2];
  thumbnail.getContext("2d")?.drawImage(after, left, top, wide, high);
  const choose = document.createElement("button");
  choose.type = "button";
  choose.setAttribute("aria-label", picture.name);
  choose.append(thumbnail);
  const added = { ...picture, thumbnail, button: choose };
  choose.addEventListener("click", () => show(added));
  const item = document.createElement("li");
  item.append(choose);
  element("strip").append(item);
  pictures.push(added);
  for (const { id, button } of pictures) button.setAttribute("aria-current", String(id === picture.id));
  element("strip").hidden = pictures.length < 2;
  button("save-all").hidden = pictures.length < 2;
}

button("open").addEventListener("click", () => input("files").click());
input("files").addEventListener("change", async () => {
  await addFiles([...(input("files").files ?? [])]);
  input("files").value = ""; // the same file can be opened again
});
addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (files.length) addFiles(files);
  else message("There is no picture in the clipboard.", "note");
});
let inside = 0; // elements that what is dragged has entered and not left
addEventListener("dragenter", () => {
  element("drop").hidden = ++inside === 0;
});
addEventListener("dragleave", () => {
  element("drop").hidden = --inside === 0;
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  inside = 0;
  element("drop").hidden = true;
  addFiles([...(event.dataTransfer?.files ?? [])]);
});

// ---------------------------------------------------------------- saving

/**
 * @param {{name: string}} picture
 * @param {"png" | "jpeg"} format
 */
async function save(picture, format) {
  const { blob } = await engine.ask({ kind: "save", settings: settings(), format });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = savedName(picture.name, format);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** @param {() => Promise<void>} work */
async function busySaving(work) {
  for (const one of saving) one.disabled = true;
  const text = element("status").textContent ?? "";
  status("Saving at full size …");
  try {
    await work();
  } catch (error) {
    message(words(error));
  } finally {
    status(text);
    for (const one of saving) one.disabled = false;
  }
}

for (const format of /** @type {const} */ (["png", "jpeg"])) {
  button(`save-${format}`).addEventListener("click", () =>
    busySaving(async () => {
      if (shown) await save(shown, format);
    }),
  );
}
button("save-all").addEventListener("click", () =>
  busySaving(async () => {
    for (const picture of [...pictures]) if (await show(picture)) await save(picture, "jpeg");
  }),
);

// ---------------------------------------------------------------- camera

function stopCamera() {
  if (!live) return;
  live.stop();
  live = null;
  element("live").hidden = true;
  button("camera").textContent = "Use the camera";
}

/** @param {string} device */
async function beginCamera(device) {
  stopCamera();
  status("Starting the camera …");
  firstFrame = true;
  /** @type {number[]} times of the last frames */
  const times = [];
  const handle = async (/** @type {ImageBitmap} */ bitmap, /** @type {number} */ time) => {
    const size = { height: bitmap.height, width: bitmap.width };
    if (size.height !== full.height || size.width !== full.width) setAspect(size);
    const request = { kind: /** @type {const} */ ("frame"), bitmap, time, size: drawnSize(), settings: settings(), first: firstFrame };
    firstFrame = false;
    const answer = await engine.ask(request, [bitmap]);
    if (!live) return;
    put(before, answer.before);
    put(after, answer.after);
    times.push(performance.now());
    if (times.length > 20) times.shift();
    const rate = (1000 * (times.length - 1)) / Math.max(times[times.length - 1] - times[0], 1);
    if (times.length > 2) status(`${dimensions(size)}, ${rate.toFixed(rate < 10 ? 1 : 0)} frames a second`);
    stage.dataset.cuts = String(answer.cuts);
    stage.dataset.frames = String(Number(stage.dataset.frames ?? 0) + 1);
  };
  const ended = (/** @type {string} */ reason) => {
    message(reason);
    if (live) endCamera();
  };
  try {
    live = await startCamera(device, handle, ended);
    element("name").textContent = "Camera";
    button("camera").textContent = "Stop the camera";
    element("live").hidden = false;
    for (const one of saving) one.disabled = true;
    await listCameras();
  } catch (error) {
    message(words(error));
    status(shown ? dimensions(full) : "");
  }
}

async function listCameras() {
  const found = await cameras();
  const choice = /** @type {HTMLSelectElement} */ (element("cameras"));
  const used = live?.video.srcObject instanceof MediaStream ? live.video.srcObject.getVideoTracks()[0].getSettings().deviceId : "";
  choice.replaceChildren(...found.map(({ id, label }) => new Option(label, id, false, id === used)));
  element("cameras-field").hidden = found.length < 2;
}

async function endCamera() {
  stopCamera();
  if (shown) await show(shown);
  else status("");
}

button("camera").addEventListener("click", () => (live ? endCamera() : beginCamera("")));
element("cameras").addEventListener("change", (event) => beginCamera(/** @type {HTMLSelectElement} */ (event.target).value));
button("keep").addEventListener("click", async () => {
  if (!live) return;
  const { video } = live;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d")?.drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  await addFiles([new File([blob], `camera ${new Date().toLocaleTimeString("sv").replaceAll(":", "-")}.png`)]);
});

// ---------------------------------------------------------------- start

async function start() {
  themeButton(element("theme"));
  slider(stage);
  showSettings();
  try {
    engine = new Engine();
    const { backend, model } = await engine.ask({ kind: "start", folder: document.baseURI });
    about = `Network “${model}” in ${backend}.`;
    element("about").textContent += ` ${about}`;
    document.documentElement.dataset.backend = backend;
    const answer = await fetch(EXAMPLE);
    await show({ id: nextId++, file: await answer.blob(), name: "Example picture" });
  } catch (error) {
    status("");
    message(`This page cannot work here: ${words(error)}. Try a current Firefox, Chrome, Edge or Safari.`);
    for (const id of ["open", "camera"]) button(id).disabled = true;
  }
  document.documentElement.dataset.ready = "";
}

start();
