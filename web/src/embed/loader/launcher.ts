// The button that opens the panel: who points at it or presses it enters as calls.

import { loader as text } from "../../text";
import { drawn, dressed, made } from "./dom";

/** Somebody who only passes over the button wants nothing. */
const INTENT_MS = 80;

const ICONS = {
  bubble:
    "M12 4c4.7 0 8.5 3.2 8.5 7.2s-3.8 7.2-8.5 7.2c-.9 0-1.8-.1-2.6-.3L5 20l.9-3.4c-1.5-1.3-2.4-3.2-2.4-5.4C3.5 7.2 7.3 4 12 4zM9 9l2.3 2.2L9 13.4M12.8 13.6h2.5",
  down: "M6 9.5l6 6 6-6",
};

export interface Doings {
  /** Somebody seems about to open the panel. */
  prepare(): void;
  toggle(): void;
  close(): void;
}

export interface Launcher {
  readonly button: HTMLButtonElement;
  show(open: boolean, unread: number): void;
}

export function launcher({ prepare, toggle, close }: Doings): Launcher {
  const button = made("button", { type: "button", "aria-haspopup": "dialog" });
  const badge = made("span", { class: "badge" });
  button.append(drawn(ICONS), badge);
  let intent: ReturnType<typeof setTimeout> | undefined;
  const not = () => clearTimeout(intent);
  const soon = () => {
    not();
    intent = setTimeout(prepare, INTENT_MS);
  };
  button.onpointerenter = button.onfocus = soon;
  button.onpointerleave = button.onblur = not;
  button.addEventListener("touchstart", prepare, { passive: true });
  button.onclick = toggle;
  // Not by `onkeydown`: a handler that returns false takes every other key from the button.
  button.addEventListener("keydown", ({ key }) => key === "Escape" && close());
  return {
    button,
    show(open, unread) {
      badge.textContent = unread ? String(unread) : "";
      dressed(button, { "aria-expanded": String(open), "aria-label": open ? text.close : text.open(unread) });
    },
  };
}
