// What this browser remembers of each conversation: the draft, a question under way, and the branch that is shown.

import type { Asked, Attachment } from "./core/asked";

export interface Remembered {
  words?: string;
  files?: readonly Attachment[];
  /** A question that was sent, until the server has it; `key` is the mark in its request. */
  sent?: (Asked & { key: string }) | null;
  /** The id of the response whose branch is shown. */
  branch?: string;
}

interface Entry extends Remembered {
  at: number;
}

const PREFIX = "codeact.conversation.";
const NEW = "new";
const MOST = 100;

let isOn = false;

/** The chat page calls this once. The embed does not: several visitors may share a browser. */
export function turnOn(): void {
  isOn = true;
}

/** Returns what is remembered of the conversation with this id; null stands for one that has no id yet. */
export function recall(id: string | null): Remembered {
  // A new conversation is first of all this tab's: two tabs may each begin one.
  return (id === null && read(() => sessionStorage, NEW)) || read(() => localStorage, id ?? NEW) || {};
}

export function remember(id: string | null, change: Remembered): void {
  if (!isOn) return;
  const { words, files, sent, branch } = { ...recall(id), ...change };
  const isEmpty = !words && !files?.length && !sent && !branch;
  const entry: Entry | null = isEmpty ? null : { words, files, sent, branch, at: Date.now() };
  if (id === null) write(() => sessionStorage, NEW, entry);
  write(() => localStorage, id ?? NEW, entry);
}

/** Forgets everything, for a user who signs out. */
export function forgetAll(): void {
  for (const storage of [() => sessionStorage, () => localStorage]) {
    for (const key of keys(storage)) attempt(() => storage().removeItem(key));
  }
}

function read(storage: () => Storage, name: string): Remembered | null {
  if (!isOn) return null;
  return attempt(() => JSON.parse(storage().getItem(PREFIX + name) ?? "null") as Remembered | null);
}

function write(storage: () => Storage, name: string, entry: Entry | null): void {
  attempt(() => {
    if (!entry) return storage().removeItem(PREFIX + name);
    storage().setItem(PREFIX + name, JSON.stringify(entry));
    prune(storage);
  });
}

/** Keeps the newest entries, so that the storage never fills up. */
function prune(storage: () => Storage): void {
  const all = keys(storage);
  if (all.length <= MOST) return;
  const age = (key: string) => (JSON.parse(storage().getItem(key) ?? "null") as Entry | null)?.at ?? 0;
  const oldest = all.map((key) => [age(key), key] as const).sort(([a], [b]) => a - b);
  for (const [, key] of oldest.slice(0, all.length - MOST)) storage().removeItem(key);
}

const keys = (storage: () => Storage): string[] =>
  attempt(() => Object.keys(storage()).filter((key) => key.startsWith(PREFIX))) ?? [];

/** Storage may be full, switched off or edited by hand: then nothing is remembered. */
function attempt<T>(work: () => T): T | null {
  try {
    return work();
  } catch {
    return null;
  }
}
