// What is seen in the host page, in a closed shadow root: the launcher, and the place of the panel's frame.

import { loader as text } from "../../text";
import { made } from "./dom";
import { launcher, type Doings } from "./launcher";
import type { Settings } from "./settings";
import styles from "./shell.css?inline";

export interface Shell {
  /** False in a place of its own in the page, and where nothing is shown. */
  readonly floats: boolean;
  /** Puts everything into the page. Throws where there is no such place. */
  attach(): void;
  add(frame: HTMLIFrameElement): void;
  /** The panel's page is there. */
  loaded(): void;
  /** It is not, and will not be. */
  failed(): void;
  show(open: boolean, unread: number): void;
  /** The value of a CSS variable, as the host page has it. */
  variable(name: string): string;
  remove(): void;
}

export function shell({ look, position, ui }: Settings, doings: Doings): Shell {
  const side = /^bottom-(left|right)$/.exec(String(position))?.[1];
  const floats = !!side && ui !== "none";
  const host = made("codeact-embed" as "div");
  const root = host.attachShadow({ mode: "closed" });
  const wait = made("div", { class: "wait", role: "status" });
  const panel = made("div", { class: `panel ${look.theme} ${floats ? side : "inline"}` });
  const { button, show } = launcher(doings);
  let frame: HTMLIFrameElement | null = null;
  let opened = false;
  let before: Element | null = null;

  // Unlike <style>, this needs no leave of the host page's policy.
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(styles);
  root.adoptedStyleSheets = [sheet];
  if (look.accent) host.style.setProperty("--codeact-accent", look.accent);
  if (ui === "none") host.style.display = "none";
  panel.append(wait);
  if (floats) {
    panel.role = "dialog";
    panel.ariaLabel = look.title;
    panel.inert = true;
    button.className = `launcher ${side}`;
    show(false, 0);
    root.append(button);
  }
  root.append(panel);

  /** Not before its page is there: a frame that has the focus would lose it with the page before, and not get it again. */
  const focusFrame = () => opened && panel.classList.contains("loaded") && frame?.focus();
  /** A phone's keyboard takes a part of the screen, but not of the page. */
  const fit = () => panel.style.setProperty("--viewport", `${visualViewport!.height}px`);
  const giveFocusBack = () => {
    const target = before instanceof HTMLElement && before !== document.body ? before : button;
    target.focus({ preventScroll: true });
  };
  return {
    floats,
    attach() {
      const place = side || ui === "none" ? document.body : position instanceof Element ? position : document.querySelector(position);
      if (!place) throw new Error(`codeact: the page has no '${String(position)}'.`);
      place.append(host);
    },
    add(given) {
      frame = given;
      panel.append(frame);
    },
    loaded() {
      panel.classList.add("loaded");
      focusFrame();
    },
    failed() {
      const words = made("p");
      words.textContent = text.unreachable;
      wait.replaceChildren(words);
      if (!floats) return;
      const close = made("button", { type: "button" });
      close.textContent = text.close;
      close.onclick = doings.close;
      wait.append(close);
    },
    show(open, unread) {
      const inside = document.activeElement === host;
      show(open, unread);
      if (open === opened) return;
      opened = open;
      panel.classList.toggle("open", open);
      panel.inert = !open;
      if (open) {
        before = inside ? null : document.activeElement;
        fit();
        visualViewport!.addEventListener("resize", fit);
        focusFrame();
      } else {
        visualViewport!.removeEventListener("resize", fit);
        if (inside) giveFocusBack();
      }
    },
    variable: (name) => getComputedStyle(host).getPropertyValue(`--codeact-${name}`).trim(),
    remove() {
      visualViewport!.removeEventListener("resize", fit);
      host.remove();
    },
  };
}
