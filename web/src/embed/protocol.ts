// What the host page's script and the panel in its frame say to each other, and the channel that carries it: each end
// says things to one window at one origin, and hears nothing from anybody else.

import type { Event } from "../wire";

export const VERSION = 1;

/** How the panel looks and what it offers, as the host page wishes. */
export interface Look {
  title: string;
  greeting: string;
  starters: string[];
  theme: "light" | "dark" | "system";
  /** A CSS colour, or empty; likewise a list of font families. */
  accent: string;
  font: string;
  /** Whether the steps of answers are folded: their code, texts and tracebacks. */
  steps: "folded" | "shown";
}

export interface Configuration extends Look {
  /** The panel itself gets a token that stands for nobody. */
  anonymous: boolean;
  /** The panel is a part of the page: nothing opens or closes it. */
  inline: boolean;
  /** Whether the host page wants each event of the API. */
  events: boolean;
}

export type ToPanel =
  | ({ type: "configure" } & Configuration)
  | { type: "token"; token: string }
  | { type: "token.failed" }
  | { type: "open" }
  | { type: "send"; text: string };

/** An answer that has ended. */
export interface Message {
  text: string;
  status: string;
  response_id: string;
  conversation_id: string;
}

export interface Trouble {
  code: string;
  message: string;
}

/** What a page can listen to, each with what its handlers are given. */
export interface Events {
  /** The visitor is known and the conversation is there. */
  ready: null;
  open: null;
  close: null;
  message: Message;
  /** Each event of the Responses API, as it comes. */
  event: Event;
  /** How many answers have ended since the panel was closed. */
  unread: number;
  error: Trouble;
}

export type Emitted = { [K in keyof Events]: { name: K; detail: Events[K] } }[keyof Events];

export type ToHost =
  | { type: "hello" }
  | { type: "token.needed" }
  | { type: "close" }
  | ({ type: "emit" } & Emitted);

export interface Channel<Said> {
  say(message: Said): void;
  end(): void;
}

/** `hear` is called with what the window `other` says while it shows a page of `origin`. */
export function channel<Said, Heard extends { type: string }>(
  other: () => Window | null,
  origin: string,
  hear: (message: Heard) => void,
): Channel<Said> {
  const heard = ({ source, origin: from, data }: MessageEvent) => {
    if (source === null || source !== other() || from !== origin) return;
    if (data?.codeact === VERSION && typeof data.type === "string") hear(data as Heard);
  };
  addEventListener("message", heard);
  return {
    say: (message) => other()?.postMessage({ codeact: VERSION, ...message }, origin),
    end: () => removeEventListener("message", heard),
  };
}
