// The list of conversations: all of them, or those that a search finds, page by page.

import { effect, signal } from "@preact/signals";
import { api, Failed, type ConversationObject, type Edit } from "./net/api";
import { line } from "./session";

const SEARCH_PAUSE_MS = 150;

export const list = signal<readonly ConversationObject[]>([]);
export const listNext = signal<string | null>(null);
export const listState = signal<"loading" | "ready" | "failed">("loading");
export const query = signal("");

/** Reads the list anew when the query changes. Called once. */
export function keepList(): void {
  let pause = 0;
  effect(() => {
    const asked = query.value;
    clearTimeout(pause);
    pause = window.setTimeout(() => void refresh(), asked ? SEARCH_PAUSE_MS : 0);
  });
}

export async function refresh(): Promise<void> {
  const asked = query.value;
  try {
    const page = await api.conversations(asQuery(asked), null);
    if (asked !== query.value) return;
    list.value = page.data.filter(isAsked);
    listNext.value = page["codeact:next"];
    listState.value = "ready";
  } catch (error) {
    if (error instanceof Failed && error.status === 401) line.value = "key";
    else listState.value = "failed";
  }
}

export async function more(): Promise<void> {
  const page = await api.conversations(asQuery(query.value), listNext.value);
  const known = new Set(list.value.map(({ id }) => id));
  list.value = [...list.value, ...page.data.filter((one) => isAsked(one) && !known.has(one.id))];
  listNext.value = page["codeact:next"];
}

/** A page that was only opened has made a conversation too, to warm its sandbox. */
export const isAsked = (one: ConversationObject): boolean => one["codeact:summary"].title !== null;

export async function change(id: string, edit: Edit): Promise<void> {
  list.value = list.value.map((one) =>
    one.id === id ? { ...one, "codeact:summary": { ...one["codeact:summary"], ...edit, folder: edit.folder ?? one["codeact:summary"].folder } } : one,
  );
  await api.edit(id, edit).catch(() => undefined);
  await refresh();
}

/** What is typed, as a query for the server: the last word may be unfinished. */
export function asQuery(typed: string): string {
  if (!/[\p{L}\p{N}]/u.test(typed)) return "";
  return /[\p{L}\p{N}_]$/u.test(typed) ? `${typed}*` : typed.trim();
}
