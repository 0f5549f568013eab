// What the panel does for its host page: messages enter, the visitor's conversation and its events leave.

import { effect, signal, untracked } from "@preact/signals";
import type { Conversation, Turn } from "../../conversation";
import { whenRefused } from "../../net/access";
import { Failed } from "../../net/api";
import { begin, connection, current, line, make, missing, say, warm } from "../../session";
import { text } from "../../text";
import { channel, type Channel, type Emitted, type ToHost, type ToPanel } from "../protocol";
import { keep, kept } from "./kept";
import { configure, look } from "./look";
import { begin as beginVisitor, identify, owner, trouble } from "./visitor";

const TOKEN_WITHIN_MS = 20_000;
const AGAIN_MS = 2000;

let host: Channel<ToHost>;
let answer: ((token: string | null) => void) | null = null;
let isReady = false;
let refusals = 0;

/** Whether the visitor sees the panel. */
export const shown = signal(false);

/** `origin` is the host page's, as the panel's address names it: the server lets no other page frame it. */
export function start(origin: string): void {
  begin({ parameters: () => ({}), asked, ended, prepared: remember, took });
  beginVisitor(origin, askForToken);
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
    if (line.value === "open" && current.value.loaded.value) untracked(ready);
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
    case "open":
      shown.value = true;
      return focus();
    case "close":
      shown.value = false;
      return;
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

/** Also what "try again" does, when the visitor could not be signed in. */
export async function enter(): Promise<void> {
  if (!(await identify())) return;
  const id = isReady ? null : kept(owner());
  if (id) current.value = make(id);
  line.value = "connecting";
  connection.open();
  if (id) await read(current.value);
}

export function fresh(): void {
  keep(owner(), null);
  missing.value = "";
  current.value = make(null);
  warm();
}

async function read(conversation: Conversation): Promise<void> {
  missing.value = "";
  try {
    await conversation.load();
  } catch (error) {
    if (conversation !== current.value) return;
    if (error instanceof Failed && error.status === 404) fresh();
    else missing.value = text.line.unanswered;
  }
}

function lineIs(state: typeof line.value): void {
  if (state === "open") {
    refusals = 0;
    if (!look.value!.inline) warm();
    if (missing.value) void read(current.value);
  } else if (state === "key") {
    setTimeout(() => void enter(), refusals++ ? AGAIN_MS : 0);
  }
}

function ready(): void {
  if (isReady) return;
  isReady = true;
  emit({ name: "ready", detail: null });
}

const remember = (id: string): void => keep(owner(), id);

function asked(conversation: Conversation, sent: Promise<void>): void {
  void sent.then(() => conversation.id && conversation === current.value && remember(conversation.id));
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
