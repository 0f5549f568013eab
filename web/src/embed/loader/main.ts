// The script of one line in a host page: its attributes enter, `window.codeact` and the widget leave.

import type { Emitted, Events } from "../protocol";
import { made } from "./dom";
import { fromAttributes, settingsOf, type Options } from "./settings";
import { widget, type Widget } from "./widget";

type Handler = (detail: never) => void;

const script = document.currentScript as HTMLScriptElement;
const handlers = new Map<string, Set<Handler>>();
let active: Widget | null = null;
let preconnected: HTMLLinkElement | null = null;

const api = {
  /** Shows the launcher. Where `options` say nothing, the script's attributes count. */
  init(options: Options = {}): void {
    api.destroy();
    const { auto: _, ...given } = script.dataset;
    const settings = settingsOf({ ...fromAttributes(given), ...options });
    const page = new URL(`embed.html?origin=${encodeURIComponent(location.origin)}`, script.src);
    document.head.append((preconnected = made("link", { rel: "preconnect", href: page.origin })));
    active = widget(settings, page, emit, (name) => !!handlers.get(name)?.size);
  },
  prepare: (): void => there().prepare(),
  open: (): void => there().open(),
  close: (): void => there().close(),
  send: (text: string): void => there().send(text),
  /** Calls `handler` at each event of that name, until the function that comes back is called. */
  on<K extends keyof Events>(name: K, handler: (detail: Events[K]) => void): () => void {
    const known = handlers.get(name) ?? new Set();
    handlers.set(name, known.add(handler as Handler));
    active?.configure();
    return () => void known.delete(handler as Handler);
  },
  /** Takes everything out of the page. `init` may come again. */
  destroy(): void {
    active?.destroy();
    preconnected?.remove();
    active = preconnected = null;
  },
};

function there(): Widget {
  if (!active) throw new Error("codeact: call codeact.init first.");
  return active;
}

/** An error in a handler is the page's, and harms nothing here. */
function emit({ name, detail }: Emitted): void {
  for (const handler of handlers.get(name) ?? []) queueMicrotask(() => handler(detail as never));
}

if (!script) throw new Error("codeact: embed.js is a classic script, without type=module.");
const place = window as { codeact?: typeof api };
if (!place.codeact) {
  place.codeact = api;
  if (script.dataset["auto"] !== "false") api.init();
}
