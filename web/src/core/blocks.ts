// Markdown that grows enters; its finished blocks, which never change again, and the unfinished rest leave.

import { Lexer } from "marked";
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
    const tokens = lexed(text.slice(this.read));
    const last = tokens.findLastIndex((token) => token.type !== "space");
    for (const token of tokens.slice(0, Math.max(0, last))) {
      this.read += token.raw.length;
      if (token.type !== "space") this.finished.push(block(token));
    }
    this.rest = last < 0 ? [] : [block(tokens[last]!)];
    return this;
  }
}

const FORMULAS = /\$\$|\\\[/g;
const MOST_FORMULAS = 1_000;
const NESTED = /^(?: {0,3}>){100}|^ {0,3}(?:[-*+] ){50}/m;

/** What would take marked the square of its length, or is nested deeper than it can follow, is shown as it was written. */
function lexed(text: string): { type: string; raw: string; lang?: string; text?: string }[] {
  const plain = [{ type: "code", raw: text, text }];
  if ((text.match(FORMULAS)?.length ?? 0) > MOST_FORMULAS || NESTED.test(text)) return plain;
  try {
    // Without what stands within the blocks: that is read when a block is drawn.
    return new Lexer(marked.defaults).blockTokens(text.replace(/\r\n|\r/g, "\n"));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return plain;
  }
}

function block(token: { type: string; raw: string; lang?: string; text?: string }): Block {
  if (token.type !== "code") return { kind: "markdown", text: token.raw };
  return { kind: "code", language: (token.lang ?? "").trim().split(/\s/)[0]!.toLowerCase(), text: token.text ?? "" };
}
