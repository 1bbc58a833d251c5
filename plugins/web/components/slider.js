// Before and after, with a line between them: of the web page and of the quality report. A native range input holds the
// position (keyboard, screen readers); dragging with the mouse or a finger sets it.

/**
 * Make a stage's line movable. The stage holds what is before, `.over` with what is after, `.line`, and an input
 * `.handle` from 0 to 100. `data-left` says what is left of the line, if not what is before.
 * @param {HTMLElement} stage
 * @returns {(percent: number) => void} moves the line
 */
export function slider(stage) {
  const handle = /** @type {HTMLInputElement} */ (stage.querySelector(".handle"));

  const place = (/** @type {number} */ percent) => {
    handle.value = String(percent);
    stage.style.setProperty("--cut", `${handle.value}%`);
    handle.setAttribute("aria-valuetext", `${handle.value} % ${stage.dataset.left ?? "before"}`);
  };
  const drag = (/** @type {PointerEvent} */ event) => {
    const box = stage.getBoundingClientRect();
    place(Math.round((100 * (event.clientX - box.left)) / box.width));
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    stage.setPointerCapture(event.pointerId);
    drag(event);
    handle.focus({ preventScroll: true });
    event.preventDefault();
  });
  stage.addEventListener("pointermove", (event) => {
    if (stage.hasPointerCapture(event.pointerId)) drag(event);
  });
  handle.addEventListener("input", () => place(Number(handle.value)));
  place(50);
  return place;
}
