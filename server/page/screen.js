// Text for a terminal enters, in pieces that may end anywhere; lines with colours leave.

import { make } from "./dom.js";

const STRING = "[\\]PX^_][^\\x07\\x1b]*"; // OSC and its kin, with what they carry
const CSI = "\\[[0-?]*[ -/]*";
const TOKEN = new RegExp(`(\\x1b(?:${CSI}[@-~]|${STRING}(?:\\x07|\\x1b\\\\)|[ -/]*[0-OQ-WYZ\\\\\`-~])|\\r?\\n|\\r)`);
const UNFINISHED = new RegExp(`(?:\\x1b(?:${CSI}|${STRING}\\x1b?|[ -/]*)?|\\r)$`);
const SGR = /^\x1b\[([0-9;:]*)m$/;
const CONTROLS = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/g;
const LONGEST = 4096;

/** A terminal's output: `feed` text, `flush` it into `element`. Colours are shown, `\r` rewrites the line. */
export class Screen {
  constructor(className) {
    this.element = make("pre", className);
    this.tail = make("div");
    this.element.append(this.tail);
    this.finished = []; // runs [text, class] of whole lines, not in the document yet
    this.line = []; // runs of the line being written
    this.rewrite = false;
    this.held = "";
    this.colour = "";
    this.bold = false;
  }

  feed(text) {
    text = this.held + text;
    const unfinished = UNFINISHED.exec(text)?.[0] ?? "";
    this.held = unfinished.length <= LONGEST ? unfinished : "";
    const parts = text.slice(0, text.length - this.held.length).split(TOKEN);
    parts.forEach((part, index) => {
      if (index % 2 === 0) this.#write(part.replace(CONTROLS, ""));
      else if (part === "\r") this.rewrite = true;
      else if (part.endsWith("\n")) this.#newline();
      else if (SGR.test(part)) this.#style(SGR.exec(part)[1].split(/[;:]/).map(Number));
    });
  }

  flush() {
    if (this.finished.length) {
      // A block of its own per flush: the browser lays out what is new, not all there is.
      this.tail.before(make("div", "", ...runs(this.finished)));
      this.finished = [];
    }
    this.tail.replaceChildren(...runs(this.line));
  }

  #write(text) {
    if (!text) return;
    if (this.rewrite) this.line = [];
    this.rewrite = false;
    push(this.line, text, `${this.colour} ${this.bold ? "bold" : ""}`.trim());
  }

  #newline() {
    for (const [text, style] of this.line) push(this.finished, text, style);
    push(this.finished, "\n", "");
    this.line = [];
    this.rewrite = false;
  }

  #style(codes) {
    for (let index = 0; index < codes.length; index++) {
      const code = codes[index];
      if (code === 0) [this.colour, this.bold] = ["", false];
      else if (code === 1) this.bold = true;
      else if (code === 22) this.bold = false;
      else if (code === 39) this.colour = "";
      else if (code >= 30 && code <= 37) this.colour = `ansi${code - 30}`;
      else if (code >= 90 && code <= 97) this.colour = `ansi${code - 90}`;
      else if (code === 38 || code === 48) {
        if (code === 38 && codes[index + 1] === 5 && codes[index + 2] < 16) this.colour = `ansi${codes[index + 2] % 8}`;
        index += codes[index + 1] === 5 ? 2 : 4;
      }
    }
  }
}

function push(list, text, style) {
  const last = list.at(-1);
  if (last?.[1] === style) last[0] += text;
  else list.push([text, style]);
}

function runs(list) {
  return list.map(([text, style]) => (style ? make("span", style, text) : text));
}
