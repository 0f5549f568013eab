// One embed in the host page: settings and the API's calls enter, the launcher, the frame and events leave.

import { loader as text } from "../../text";
import { channel, type Channel, type Emitted, type Events, type ToHost, type ToPanel } from "../protocol";
import { made } from "./dom";
import type { Settings } from "./settings";
import { shell } from "./shell";

/** An error page loads, too, and says nothing. */
const HELLO_MS = 2000;

export interface Widget {
  /** Loads the panel and asks who the visitor is, so that opening it takes no time. */
  prepare(): void;
  open(): void;
  close(): void;
  send(text: string): void;
  /** Somebody listens to more than before. */
  configure(): void;
  destroy(): void;
}

/** `page` is the panel's address; `wants` tells whether anybody listens. */
export function widget(
  { look, getToken, anonymous, ...settings }: Settings,
  page: URL,
  emit: (what: Emitted) => void,
  wants: (name: keyof Events) => boolean,
): Widget {
  const ends = new AbortController();
  const questions: string[] = [];
  let panel: Channel<ToPanel> | null = null;
  let token: Promise<string> | null = null;
  let greeted = false;
  let ready = false;
  let opened = false;
  let unread = 0;

  const view = shell({ look, getToken, anonymous, ...settings }, { prepare, toggle: () => (opened ? close() : open()), close });
  const inline = !view.floats && settings.ui !== "none";

  function prepare(): void {
    if (panel) return;
    const frame = made("iframe", { title: look.title, allow: "clipboard-write", referrerpolicy: "no-referrer" });
    panel = channel<ToPanel, ToHost>(() => frame.contentWindow, page.origin, hear);
    if (!anonymous) {
      token = askForToken();
      token.catch(() => undefined); // told where it is awaited
    }
    if (inline) frame.loading = "lazy";
    frame.onload = () => setTimeout(() => greeted || ends.signal.aborted || fail(), HELLO_MS);
    frame.src = page.href;
    view.add(frame);
  }

  function open(): void {
    prepare();
    if (!opened && view.floats) turn(true);
  }

  function close(): void {
    if (opened) turn(false);
  }

  function turn(open: boolean): void {
    opened = open;
    unread = 0;
    view.show(open, 0);
    if (open && greeted) panel!.say({ type: "open" });
    emit({ name: open ? "open" : "close", detail: null });
  }

  function send(text: string): void {
    prepare();
    if (ready) panel!.say({ type: "send", text });
    else questions.push(text);
  }

  function hear(message: ToHost): void {
    switch (message.type) {
      case "hello":
        greeted = true;
        ready = false;
        configure();
        if (opened) panel!.say({ type: "open" });
        view.loaded();
        return;
      case "token.needed": return void passToken();
      case "close": return close();
      case "emit":
        emit(message);
        if (message.name === "ready") {
          ready = true;
          questions.splice(0).forEach(send);
        } else if (message.name === "message" && view.floats && !opened) {
          view.show(false, ++unread);
          emit({ name: "unread", detail: unread });
        }
    }
  }

  function configure(): void {
    if (!greeted) return;
    const accent = look.accent || view.variable("accent");
    const font = look.font || view.variable("font");
    panel!.say({ type: "configure", ...look, accent, font, anonymous, inline, events: wants("event") });
  }

  async function askForToken(): Promise<string> {
    return getToken();
  }

  /** The first was asked for while the frame was loading. */
  async function passToken(): Promise<void> {
    const asked = token ?? askForToken();
    token = null;
    try {
      const token = await asked;
      if (!token || typeof token !== "string") throw new Error(text.noToken);
      panel!.say({ type: "token", token });
    } catch (error) {
      panel!.say({ type: "token.failed" });
      emit({ name: "error", detail: { code: "token_failed", message: String((error as Error)?.message ?? error) } });
    }
  }

  function fail(): void {
    view.failed();
    emit({ name: "error", detail: { code: "unreachable", message: text.unreachable } });
  }

  const begin = () => {
    view.attach();
    if (inline) prepare();
  };
  if (document.body) begin();
  else addEventListener("DOMContentLoaded", begin, { signal: ends.signal });

  return {
    prepare,
    open,
    close,
    send,
    configure,
    destroy() {
      ends.abort();
      panel?.end();
      view.remove();
    },
  };
}
