// What the host page wishes enters, as it says it; colours, fonts and words of the panel leave.

import { effect, signal } from "@preact/signals";
import { folds } from "../../folding";
import { dark, follow } from "../../theme";
import type { Configuration } from "../protocol";
import { css, shades, type Rgb } from "./accent";

const MOST_STARTERS = 6;
const LONGEST = 2000;

const PLAIN: Configuration = {
  title: "",
  greeting: "",
  starters: [],
  theme: "system",
  accent: "",
  font: "",
  steps: "folded",
  anonymous: false,
  inline: false,
  events: false,
};

/** Null until the host page has said it. */
export const look = signal<Configuration | null>(null);

export function configure(given: Partial<Record<keyof Configuration, unknown>>): void {
  const { theme, starters } = given;
  const words = (value: unknown) => (typeof value === "string" ? value.slice(0, LONGEST) : "");
  look.value = {
    ...PLAIN,
    title: words(given.title),
    greeting: words(given.greeting),
    accent: words(given.accent),
    font: words(given.font),
    steps: given.steps === "shown" ? "shown" : "folded",
    theme: theme === "light" || theme === "dark" ? theme : "system",
    starters: Array.isArray(starters) ? starters.map(words).filter(Boolean).slice(0, MOST_STARTERS) : [],
    anonymous: given.anonymous === true,
    inline: given.inline === true,
    events: given.events === true,
  };
}

/** Keeps the panel's colours in step. Called once. */
export function dress(): void {
  follow(() => look.value?.theme ?? "system");
  effect(() => void (folds.value = look.value?.steps !== "shown"));
  effect(() => {
    void dark.value; // the paper changes with it
    const { accent = "", font = "" } = look.value ?? {};
    const { style } = document.documentElement;
    for (const name of ["accent", "accent-strong", "accent-soft", "on-accent", "sans"]) style.removeProperty(`--${name}`);
    if (font) style.setProperty("--sans", font);
    const wished = rgb(accent);
    if (!wished) return;
    const made = shades(wished, rgb(getComputedStyle(document.documentElement).getPropertyValue("--paper"))!);
    style.setProperty("--accent", css(made.accent));
    style.setProperty("--accent-strong", css(made.strong));
    style.setProperty("--accent-soft", css(made.soft));
    style.setProperty("--on-accent", css(made.on));
  });
}

/** Any CSS colour; null for what is none. */
function rgb(colour: string): Rgb | null {
  if (!CSS.supports("color", colour)) return null;
  const probe = document.createElement("i");
  probe.style.color = `color-mix(in srgb, ${colour}, ${colour})`;
  document.body.append(probe);
  const parts = getComputedStyle(probe).color.match(/[\d.e-]+/g)?.map(Number) ?? [];
  probe.remove();
  const [red, green, blue] = parts;
  return red === undefined || green === undefined || blue === undefined ? null : [red, green, blue];
}
