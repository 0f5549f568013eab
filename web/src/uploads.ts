// Attaches files to a draft, and uploads them while the user goes on typing.

import { isPicture, type Attachment } from "./core/asked";
import type { Draft } from "./draft";
import { api, Failed } from "./net/api";
import { upload } from "./net/upload";
import { text } from "./text";

const AT_ONCE = 2;

interface Waiting {
  draft: Draft;
  file: File;
  key: string;
}

const waiting: Waiting[] = [];
const running = new Map<string, AbortController>();
/** The files whose upload failed, for another attempt. */
const failed = new Map<string, Waiting>();

export function attach(draft: Draft, file: File): void {
  const key = crypto.randomUUID();
  const url = isPicture(file) ? URL.createObjectURL(file) : "";
  const attachment: Attachment = { name: file.name, type: file.type, size: file.size, url, key, progress: 0 };
  draft.attachments.value = [...draft.attachments.value, attachment];
  waiting.push({ draft, file, key });
  next();
}

/** Takes a file out of the draft; the server forgets it, too. */
export function detach(draft: Draft, attachment: Attachment): void {
  draft.attachments.value = draft.attachments.value.filter((one) => one !== attachment);
  const { key = "", fileId } = attachment;
  failed.delete(key);
  running.get(key)?.abort();
  if (fileId) void api.removeFile(fileId).catch(() => undefined); // It expires by itself.
}

export function retry(attachment: Attachment): void {
  const again = failed.get(attachment.key ?? "");
  if (!again) return;
  failed.delete(again.key);
  change(again, { progress: 0, failure: "" });
  waiting.push(again);
  next();
}

function next(): void {
  if (running.size >= AT_ONCE) return;
  const one = waiting.shift();
  if (!one) return;
  if (one.draft.latest.attachments.peek().some(({ key }) => key === one.key)) void send(one);
  next();
}

async function send(one: Waiting): Promise<void> {
  const controller = new AbortController();
  running.set(one.key, controller);
  try {
    const fileId = await upload(one.file, (progress) => change(one, { progress }), controller.signal);
    change(one, { fileId, progress: 1 });
  } catch (error) {
    if (!controller.signal.aborted) {
      failed.set(one.key, one);
      change(one, { failure: (error instanceof Failed && error.message) || text.composer.uploadFailed });
    }
  } finally {
    running.delete(one.key);
    next();
  }
}

function change({ draft: { latest: draft }, key }: Waiting, to: Partial<Attachment>): void {
  draft.attachments.value = draft.attachments.value.map((one) => (one.key === key ? { ...one, ...to } : one));
}
