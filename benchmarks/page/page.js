// Before and after: a native range input holds the position (keyboard, screen readers); dragging sets it.
"use strict";
for (const viewer of document.querySelectorAll("[data-viewer]")) {
  const stage = viewer.querySelector(".stage");
  const handle = viewer.querySelector(".handle");
  const choice = viewer.querySelector("[data-choice]");
  const light = viewer.querySelector("[data-light]");

  const place = (value) => {
    handle.value = value;
    stage.style.setProperty("--cut", `${handle.value}%`);
    handle.setAttribute("aria-valuetext", `${handle.value} % before`);
  };
  const drag = (event) => {
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
  handle.addEventListener("input", () => place(handle.value));

  const show = () => {
    const view = light.checked ? "light" : "after";
    for (const picture of viewer.querySelectorAll("[data-method]")) {
      picture.hidden = picture.dataset.method !== choice.value || picture.dataset.view !== view;
    }
    viewer.querySelector("[data-tag]").textContent = light.checked ? "light map" : "after";
  };
  choice.addEventListener("change", show);
  light.addEventListener("change", show);
  place(50);
  show(); // a reloaded page keeps its choices
}
