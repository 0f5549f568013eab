// The connection and the conversation that is shown, as signals. The page around them gets a call for each event.

import { signal } from "@preact/signals";
import { Conversation } from "./conversation";
import type { Asking } from "./core/answer";
import { decided, type Decision } from "./core/approval";
import type { Attachment } from "./core/asked";
import { address, type Status } from "./net/api";
import { Connection, type LineState } from "./net/connection";
import { text } from "./text";
import type { Turn } from "./turn";
import type { Event } from "./wire";

/** What the page around the conversation does with what happens in it. */
export interface Page {
  /** The options of the next question. */
  parameters(): Record<string, unknown>;
  /** Whether the options are known by now; without it they always are. */
  settled?(): boolean;
  /** A question is on its way; once `sent` the conversation has its id, or the question has failed. */
  asked?(conversation: Conversation, sent: Promise<void>): void;
  ended(conversation: Conversation, turn: Turn): void;
  took?(conversation: Conversation, event: Event): void;
}

export const line = signal<LineState>("connecting");
export const status = signal<Status | null>(null);
export const current = signal<Conversation>(null!);
export const missing = signal("");
/** What screen readers are told. */
export const announced = signal("");

export const connection = new Connection(address("v1/responses").replace(/^http/, "ws"), (state) => (line.value = state));

let page: Page;

/** Called once, before anything else. */
export function begin(around: Page): void {
  page = around;
  current.value = make(null);
}

export const settled = (): boolean => page.settled?.() ?? true;

export function make(id: string | null): Conversation {
  const conversation: Conversation = new Conversation(id, connection, {
    took: (event) => page.took?.(conversation, event),
    ended: (turn) => {
      if (conversation === current.value) announced.value = turn.failure || `${text.turn.complete} ${turn.words}`;
      page.ended(conversation, turn);
    },
    unsaid: (said) => conversation.draft.giveBack(said),
  });
  return conversation;
}

/** Asks; `more` are further parameters of the request. */
export function ask(words: string, attachments: readonly Attachment[], previousId?: string | null, more: object = {}): void {
  const conversation = current.value;
  announced.value = text.turn.working;
  const sent = conversation.ask(words, attachments, { ...page.parameters(), ...more }, previousId);
  page.asked?.(conversation, sent);
}

/** The user's decision about what waits for approval; the answer goes on with it. */
export function decide(asking: Asking, decision: Decision): void {
  announced.value = text.turn.working;
  current.value.decide([decided(asking, decision)], [decision], page.parameters());
}

/** A question, or a word to the answer under way. */
export function say(words: string, attachments: readonly Attachment[]): void {
  if (current.value.running.value) current.value.steer(words, attachments);
  else ask(words, attachments);
}

/** Somebody who looks at a new conversation will ask soon: its sandbox is claimed meanwhile. */
export function warm(): void {
  if (connection.isOpen && !document.hidden && !current.value.id) current.value.warm();
}
