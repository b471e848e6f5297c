// Settings that outlive the page: the theme and whether single keys are on.

const CYCLE = { system: "light", light: "dark", dark: "system" };

// recall and remember do without where the browser stores nothing for this page.
export function recall(name, otherwise) {
  try {
    return localStorage.getItem(`obsrun.${name}`) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(`obsrun.${name}`, value);
  } catch {
    // A private window: the choice lasts as long as the page.
  }
}

// wireTheme follows the system until the user chooses, and calls changed when the
// colours are others.
export function wireTheme(button, changed) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let choice = recall("theme", "system");
  if (!Object.hasOwn(CYCLE, choice)) choice = "system";
  const show = () => {
    document.documentElement.dataset.theme = choice === "system" ? (dark.matches ? "dark" : "light") : choice;
    const says = { system: "follows the system", light: "light", dark: "dark" }[choice];
    button.setAttribute("aria-label", `Theme: ${says}`);
    button.title = `Theme: ${says}`;
    changed();
  };
  button.addEventListener("click", () => {
    choice = CYCLE[choice];
    remember("theme", choice);
    show();
  });
  dark.addEventListener("change", show);
  show();
}
