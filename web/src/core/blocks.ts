// Markdown that grows enters; its finished blocks, which never change again, and the unfinished rest leave.

import { marked } from "./html";

export type Block = { readonly kind: "markdown"; readonly text: string } | CodeBlock;

export interface CodeBlock {
  readonly kind: "code";
  readonly language: string;
  readonly text: string;
}

/** Splits a text that only grows. Each update reads the unfinished end alone. */
export class Blocks {
  finished: Block[] = [];
  rest: Block[] = [];
  private text = "";
  private read = 0;

  update(text: string): this {
    if (text === this.text) return this;
    if (!text.startsWith(this.text)) {
      this.finished = [];
      this.read = 0;
    }
    this.text = text;
    const tokens = marked.lexer(text.slice(this.read));
    const last = tokens.findLastIndex((token) => token.type !== "space");
    for (const token of tokens.slice(0, Math.max(0, last))) {
      this.read += token.raw.length;
      if (token.type !== "space") this.finished.push(block(token));
    }
    this.rest = last < 0 ? [] : [block(tokens[last]!)];
    return this;
  }
}

function block(token: { type: string; raw: string; lang?: string; text?: string }): Block {
  if (token.type !== "code") return { kind: "markdown", text: token.raw };
  return { kind: "code", language: (token.lang ?? "").trim().split(/\s/)[0]!.toLowerCase(), text: token.text ?? "" };
}
