// What the panel does for its host page: messages enter, the visitor's conversation and its events leave.

import { effect, signal, untracked } from "@preact/signals";
import type { Conversation } from "../../conversation";
import type { Turn } from "../../turn";
import { whenRefused } from "../../net/access";
import { api, Failed } from "../../net/api";
import { begin, connection, current, line, make, missing, say, warm } from "../../session";
import { text } from "../../text";
import { channel, type Channel, type Emitted, type ToHost, type ToPanel } from "../protocol";
import { configure, look } from "./look";
import { begin as beginVisitor, identify, trouble } from "./visitor";

const TOKEN_WITHIN_MS = 20_000;
const AGAIN_MS = 2000;
const LONGEST_MS = 60_000;

let host: Channel<ToHost>;
let answer: ((token: string | null) => void) | null = null;
let isReady = false;
let refusals = 0;
let failures = 0;
let retry = 0;

/** Whether it is known which conversation goes on. */
export const settled = signal(false);

/** `origin` is the host page's, as the panel's address names it: the server lets no other page frame it. */
export function start(origin: string): void {
  begin({ parameters: () => ({}), ended, took });
  beginVisitor(origin, askForToken, () => void enter());
  whenRefused(identify);
  host = channel<ToHost, ToPanel>(() => parent, origin, hear);
  effect(() => {
    if (trouble.value) emit({ name: "error", detail: { code: "not_signed_in", message: trouble.value } });
  });
  effect(() => {
    const state = line.value;
    untracked(() => lineIs(state));
  });
  effect(() => {
    if (line.value === "open" && settled.value) untracked(ready);
  });
  host.say({ type: "hello" });
}

// ---- the host page ------------------------------------------------------------------------------------

function hear(message: ToPanel): void {
  switch (message.type) {
    case "configure": {
      const first = !look.value;
      configure(message);
      if (first) void enter();
      return;
    }
    case "token": return answer?.(String(message.token));
    case "token.failed": return answer?.(null);
    case "open": return focus();
    case "send": say(String(message.text), []);
  }
}

const emit = (what: Emitted): void => host.say({ type: "emit", ...what });

export const close = (): void => host.say({ type: "close" });

/** On a phone the keyboard would hide what there is to read. */
export function focus(): void {
  if (matchMedia("(hover: hover)").matches) document.getElementById("question")?.focus({ preventScroll: true });
}

async function askForToken(): Promise<string> {
  const token = await new Promise<string | null>((resolve) => {
    answer = resolve;
    setTimeout(resolve, TOKEN_WITHIN_MS, null);
    host.say({ type: "token.needed" });
  });
  if (token === null) throw new Failed(text.embed.signedOut, 401);
  return token;
}

// ---- the conversation ---------------------------------------------------------------------------------

/** Finds out who the visitor is, and goes on with their conversation. What fails may pass: it tries again, too. */
export async function enter(): Promise<void> {
  clearTimeout(retry);
  if (!(await identify())) {
    retry = window.setTimeout(() => void enter(), Math.min(AGAIN_MS * 2 ** failures++, LONGEST_MS));
    return;
  }
  failures = 0;
  if (!connection.isOpen) {
    line.value = "connecting";
    connection.open();
  }
  if (!settled.value) await goOn();
}

export function fresh(): void {
  missing.value = "";
  current.value = make(null);
  warm();
}

/** Shows the visitor's last conversation. The server knows it; browsers may forbid a frame to keep anything. */
async function goOn(): Promise<void> {
  missing.value = "";
  try {
    const [last] = (await api.newest()).data;
    if (last && !current.value.turns.length) {
      const { draft } = current.value; // The visitor may have begun to type meanwhile.
      current.value = make(last.id);
      current.value.draft.takeOver(draft);
      await current.value.load();
    }
    settled.value = true;
  } catch {
    missing.value = text.line.unanswered;
  }
  if (!look.value!.inline) warm();
}

function lineIs(state: typeof line.value): void {
  if (state === "open") {
    refusals = 0;
    if (missing.value) void goOn();
    else if (settled.value && !look.value!.inline) warm();
  } else if (state === "key") {
    setTimeout(() => void enter(), refusals++ ? AGAIN_MS : 0);
  }
}

function ready(): void {
  if (isReady) return;
  isReady = true;
  emit({ name: "ready", detail: null });
}

function took(conversation: Conversation, event: Extract<Emitted, { name: "event" }>["detail"]): void {
  if (look.value?.events && conversation === current.value) emit({ name: "event", detail: event });
}

function ended(conversation: Conversation, turn: Turn): void {
  if (conversation !== current.value) return;
  const { response } = turn.answer;
  const failure = turn.failure || response?.error?.message;
  if (failure || !response || !conversation.id) {
    const detail = { code: response?.error?.code ?? "failed", message: failure || text.embed.failed };
    return emit({ name: "error", detail });
  }
  const detail = { text: turn.words, status: response.status, response_id: turn.id, conversation_id: conversation.id };
  emit({ name: "message", detail });
}
