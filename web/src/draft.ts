// What the user is about to send, as signals; words that could not be taken in come back here.

import { signal } from "@preact/signals";
import type { Asked, Attachment } from "./core/asked";

export const words = signal("");
export const attachments = signal<readonly Attachment[]>([]);

/** Puts words before those that stand there already. */
export function giveBack(asked: Asked): void {
  words.value = [asked.text, words.value].filter(Boolean).join("\n");
  attachments.value = [...asked.attachments, ...attachments.value];
}
