// What the user has typed and attached in one conversation and not sent yet. It survives a reload of the page.

import { effect, signal } from "@preact/signals";
import type { Asked, Attachment } from "./core/asked";
import { recall, remember } from "./remembered";

let isFirst = true;

export class Draft {
  readonly words = signal("");
  readonly attachments = signal<readonly Attachment[]>([]);
  private id: string | null;
  private sent: (Asked & { key: string }) | null = null;
  private heir: Draft | null = null;

  /** `id` is the conversation's, null for one that has none yet. Of those, the page's first gets what it had before. */
  constructor(id: string | null) {
    this.id = id;
    if (id !== null || isFirst) {
      const { words = "", files = [], sent = null } = recall(id);
      this.words.value = words;
      this.attachments.value = files;
      this.sent = sent;
      if (id === null) this.giveBackUnless(() => false);
    }
    if (id === null) isFirst = false;
    effect(() => this.keep(this.words.value, this.attachments.value));
  }

  /** The conversation has got its id. */
  moveTo(id: string): void {
    if (this.id === id) return;
    remember(this.id, { words: "", files: [], sent: null });
    this.id = id;
    this.keep(this.words.peek(), this.attachments.peek());
  }

  /** Gets what was typed and attached in another draft, whose conversation is no longer shown. */
  takeOver(other: Draft): void {
    this.words.value = [this.words.value, other.words.value].filter(Boolean).join("\n");
    this.attachments.value = [...this.attachments.value, ...other.attachments.value];
    other.words.value = "";
    other.attachments.value = [];
    other.heir = this;
  }

  /** This draft, or the one that has taken it over: uploads go on there. */
  get latest(): Draft {
    return this.heir?.latest ?? this;
  }

  /** Puts words before those in the box. */
  giveBack(asked: Asked): void {
    this.words.value = [asked.text, this.words.value].filter(Boolean).join("\n");
    this.attachments.value = [...asked.attachments, ...this.attachments.value];
  }

  /** Remembers a question on its way to the server, until `arrived`. */
  sends(key: string, asked: Asked): void {
    this.sent = { key, ...asked };
    this.keep(this.words.peek(), this.attachments.peek());
  }

  arrived(key: string): void {
    if (this.sent?.key !== key) return;
    this.sent = null;
    this.keep(this.words.peek(), this.attachments.peek());
  }

  /** After a reload: puts a question into the box that never arrived. */
  giveBackUnless(known: (key: string) => boolean): void {
    const { sent } = this;
    if (!sent) return;
    this.sent = null;
    if (known(sent.key)) this.keep(this.words.peek(), this.attachments.peek());
    else this.giveBack(sent);
  }

  private keep(words: string, attachments: readonly Attachment[]): void {
    const { sent } = this;
    const files = stored(attachments);
    remember(this.id, { words, files, sent: sent && { ...sent, attachments: stored(sent.attachments) } });
  }
}

/** The files that the server has; the content of others is too large to be remembered. */
const stored = (files: readonly Attachment[]): Attachment[] =>
  files
    .filter(({ fileId }) => fileId)
    .map(({ name, type, size, url, fileId }) => ({ name, type, size, url: url.startsWith("/") ? url : "", fileId: fileId! }));
