// Light, dark or as the system says enters; the page's theme leaves.

import { effect, signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

const darkness = matchMedia("(prefers-color-scheme: dark)");
const system = signal(darkness.matches);

export const dark = signal(system.value);

/** Keeps the page in step with `chosen` and with the system. Called once. */
export function follow(chosen: () => Theme): void {
  darkness.addEventListener("change", ({ matches }) => (system.value = matches));
  effect(() => {
    const theme = chosen();
    dark.value = theme === "dark" || (theme === "system" && system.value);
    document.documentElement.dataset["theme"] = dark.value ? "dark" : "light";
  });
}
