// Converts what the user wrote and attached into the `input` of a request, and stored input back.

import type { Decision } from "./approval";
import type { Input } from "../wire";

export interface Attachment {
  readonly name: string;
  readonly type: string;
  readonly size: number;
  /** A `data:` URL, or the address of a stored picture; empty where there is nothing to show. */
  readonly url: string;
  /** The id under which the server has the file. */
  readonly fileId?: string;
  /** While it is uploaded: which attachment it is, the part that has been sent (from 0 to 1), and why it failed. */
  readonly key?: string;
  readonly progress?: number;
  readonly failure?: string;
}

export const isPicture = ({ type }: { type: string }): boolean => /^image\/(png|jpeg|gif|webp)$/.test(type);

/** A picture is shown to the model and, as every file, laid into the sandbox's workspace. */
export function input(text: string, attachments: readonly Attachment[]): Record<string, unknown>[] {
  const content: Record<string, unknown>[] = text.trim() ? [{ type: "input_text", text }] : [];
  for (const file of attachments) {
    const { fileId } = file;
    if (isPicture(file)) content.push({ type: "input_image", ...(fileId ? { file_id: fileId, detail: "auto" } : { image_url: file.url }) });
    content.push({ type: "input_file", filename: file.name, ...(fileId ? { file_id: fileId } : { file_data: file.url }) });
  }
  return [{ type: "message", role: "user", content }];
}

export interface Asked {
  readonly text: string;
  readonly attachments: readonly Attachment[];
  /** What the user decided about things that waited for approval. */
  readonly decisions?: readonly Decision[];
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
  let picture = "";
  for (const part of parts) {
    if (part["type"] === "input_text") texts.push(String(part["text"]));
    else if (part["type"] === "input_file") {
      const { filename, file_id, file_data } = part as Record<string, string | null | undefined>;
      attachments.push({
        name: String(filename),
        type: picture ? "image/png" : "",
        size: 0,
        url: picture || String(file_data ?? ""),
        ...(file_id && { fileId: file_id }),
      });
    }
    // Each picture is followed by the same as a file, for the sandbox.
    picture = part["type"] === "input_image" ? String(part["image_url"] ?? "") : "";
  }
  const decisions = given.flatMap(decisionOf);
  return { text: texts.join("\n"), attachments, ...(decisions.length && { decisions }) };
}

function decisionOf(item: Input): Decision[] {
  if (item.type !== "mcp_approval_response" && item.type !== "codeact:approval_response") return [];
  const edited = item.type === "mcp_approval_response" ? item["codeact:arguments"] : item.code;
  const scope = item.type === "mcp_approval_response" ? item["codeact:scope"] : item.scope;
  return [
    {
      approve: item.approve,
      ...(item.reason && { reason: item.reason }),
      ...(edited !== null && { edited }),
      ...(scope === "conversation" && { always: true }),
    },
  ];
}
