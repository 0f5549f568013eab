// Puts the words of the browser's language in the place of the English ones.

import { speak } from "./format";
import { text } from "./text";

/** The first language of the browser's that the page speaks. */
export const preferred = (languages: readonly string[] = navigator.languages): "de" | "en" =>
  languages.map((name) => name.slice(0, 2).toLowerCase()).find((name) => name === "de" || name === "en") === "de" ? "de" : "en";

/** To be awaited before anything is drawn. Where the words cannot be loaded, the page speaks English. */
export async function translate(): Promise<void> {
  if (preferred() !== "de") return;
  try {
    Object.assign(text, (await import("./text.de")).german);
    speak("de");
  } catch {
    // The next load of the page tries again.
  }
}
