// The report: two methods side by side in each picture. slider.js and theme.js stand before this.
for (const viewer of document.querySelectorAll("[data-viewer]")) {
  const stage = viewer.querySelector(".stage");
  const left = viewer.querySelector("[data-left-choice]");
  const right = viewer.querySelector("[data-right-choice]");
  const light = viewer.querySelector("[data-light]");
  const before = viewer.querySelector("[data-before]");
  const unchanged = before.src;
  const pictures = [...viewer.querySelectorAll("[data-method]")];
  const option = (choice) => choice.options[choice.selectedIndex];
  const place = slider(stage);

  const show = () => {
    const view = light.checked ? "light" : "after";
    for (const picture of pictures) {
      picture.hidden = picture.dataset.method !== right.value || picture.dataset.view !== view;
    }
    const other = pictures.find((p) => p.dataset.method === left.value && p.dataset.view === view);
    before.src = left.value ? other.src : unchanged;
    before.alt = left.value ? other.alt : before.dataset.before;
    stage.dataset.left = left.value || "before";
    viewer.querySelector("[data-left-tag]").textContent = left.value || "before";
    viewer.querySelector("[data-right-tag]").textContent =
      left.value ? right.value : light.checked ? "light map" : "after";
    const scores = [left, right].map((choice) => [choice.value, option(choice).dataset.scores]);
    viewer.querySelector("[data-scores-line]").textContent =
      scores.filter(([, words]) => words).map(([method, words]) => `${method}: ${words}`).join(" · ");
    for (const [choice, link] of [[left, "[data-left-full]"], [right, "[data-right-full]"]]) {
      const anchor = viewer.querySelector(link);
      anchor.hidden = !option(choice).dataset.full;
      anchor.href = option(choice).dataset.full || "#";
      anchor.textContent = `${choice.value || "before"} at full size`;
    }
    place(Number(viewer.querySelector(".handle").value));
  };
  for (const choice of [left, right, light]) choice.addEventListener("change", show);
  show(); // a reloaded page keeps its choices
}
themeButton(document.getElementById("theme"));
