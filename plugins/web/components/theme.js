// Light and dark: the system's choice until the visitor makes another one, which is remembered.

const KEY = "cliplit-theme";

/**
 * Make a button change the theme.
 * @param {HTMLElement} button
 */
export function themeButton(button) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const show = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", isDark() ? "Light colours" : "Dark colours");
  };
  const kept = remembered();
  if (kept) document.documentElement.dataset.theme = kept;
  button.hidden = false;
  button.addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem(KEY, theme);
    } catch {} // no storage here: it lasts as long as the page
    show();
  });
  system.addEventListener("change", show);
  show();
}

/** @returns {"light" | "dark" | null} */
function remembered() {
  try {
    const kept = localStorage.getItem(KEY);
    return kept === "light" || kept === "dark" ? kept : null;
  } catch {
    return null;
  }
}
