// What the user wrote and attached enters, the `input` of a request leaves; and back, for what is stored.

import type { Input } from "../wire";

export interface Attachment {
  readonly name: string;
  readonly type: string;
  readonly size: number;
  /** A `data:` URL, or the address of a stored picture. */
  readonly url: string;
}

export const isPicture = ({ type }: { type: string }): boolean => /^image\/(png|jpeg|gif|webp)$/.test(type);

/** A picture is shown to the model and, as every file, laid into the sandbox's workspace. */
export function input(text: string, attachments: readonly Attachment[]): Record<string, unknown>[] {
  const content: Record<string, unknown>[] = text.trim() ? [{ type: "input_text", text }] : [];
  for (const file of attachments) {
    if (isPicture(file)) content.push({ type: "input_image", image_url: file.url });
    content.push({ type: "input_file", filename: file.name, file_data: file.url });
  }
  return [{ type: "message", role: "user", content }];
}

export interface Asked {
  readonly text: string;
  readonly attachments: readonly Attachment[];
}

/** Several things said one after the other, as one. */
export const together = (said: readonly Asked[]): Asked => ({
  text: said.map(({ text }) => text).filter(Boolean).join("\n"),
  attachments: said.flatMap(({ attachments }) => attachments),
});

export function asked(given: readonly Input[]): Asked {
  const texts: string[] = [];
  const attachments: Attachment[] = [];
  const parts = given.flatMap((item) => (item.type === "message" && item.role === "user" ? item.content : []));
  for (const part of parts) {
    if (part["type"] === "input_text") texts.push(String(part["text"]));
    else if (part["type"] === "input_file") {
      attachments.push({ name: String(part["filename"]), type: "", size: 0, url: String(part["file_data"] ?? "") });
    }
  }
  return { text: texts.join("\n"), attachments };
}
