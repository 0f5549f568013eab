// Which conversations have an answer that this browser has not shown yet.

import { effect, signal } from "@preact/signals";
import { list } from "./list";
import type { ConversationObject } from "./net/api";
import { current } from "./session";

const KEY = "codeact.seen";
const MOST = 500;

/** The last response that was shown of each conversation; empty where there was none yet. */
const seen = signal<Record<string, string>>(read());
const visible = signal(!document.hidden);

export function isUnread({ id, "codeact:summary": { last_response_id: last } }: ConversationObject): boolean {
  const known = seen.value[id];
  return known !== undefined && last !== null && known !== last && !(visible.value && id === current.value.id);
}

/** Keeps the marks in step with what is shown. Called once. */
export function keepMarks(): void {
  document.addEventListener("visibilitychange", () => (visible.value = !document.hidden));
  effect(() => {
    const known = seen.peek();
    const changed: Record<string, string> = {};
    for (const { id, "codeact:summary": { last_response_id: last } } of list.value) {
      // One that this browser sees for the first time was read elsewhere, or is new.
      const isShown = visible.value && id === current.value.id;
      if ((isShown || known[id] === undefined) && known[id] !== (last ?? "")) changed[id] = last ?? "";
    }
    if (Object.keys(changed).length) keep({ ...known, ...changed });
  });
}

export function forgetSeen(): void {
  keep({});
}

function keep(next: Record<string, string>): void {
  seen.value = Object.fromEntries(Object.entries(next).slice(-MOST));
  try {
    localStorage.setItem(KEY, JSON.stringify(seen.value));
  } catch {
    // Storage may be full or switched off: then the marks last as long as the page.
  }
}

function read(): Record<string, string> {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "{}") as Record<string, string>;
  } catch {
    return {};
  }
}
