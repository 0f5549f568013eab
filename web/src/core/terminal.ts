// Text for a terminal enters, in pieces that may end anywhere; lines of styled runs leave.

import { PLAIN, restyle, type Style } from "./sgr";

export interface Run {
  readonly text: string;
  readonly style: Style;
}

export type Line = readonly Run[];

const STRING = "[\\]PX^_][^\\x07\\x1b]*"; // OSC and its kin, with what they carry
const CSI = "\\[[0-?]*[ -/]*";
const TOKEN = new RegExp(`(\\x1b(?:${CSI}[@-~]|${STRING}(?:\\x07|\\x1b\\\\)|[ -/]*[0-OQ-WYZ\\\\\`-~])|\\r?\\n|[\\r\\b])`);
const UNFINISHED = new RegExp(`(?:\\x1b(?:${CSI}|${STRING}\\x1b?|[ -/]*)?|\\r)$`);
const CONTROLS = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/g;
const LONGEST_ESCAPE = 4096;
const FARTHEST_COLUMN = 10_000;
/** A line of more styled runs loses its colours: each change would cost as much as the whole line. */
const MOST_RUNS = 500;

/** What a stream has written so far, as a terminal of endless height would show it: `\r` writes over the line. */
export class Terminal {
  readonly lines: Line[] = [[]];
  private row = 0;
  private column = 0;
  private style: Style = PLAIN;
  private held = "";

  feed(text: string): void {
    text = this.held + text;
    const unfinished = UNFINISHED.exec(text)?.[0] ?? "";
    this.held = unfinished.length <= LONGEST_ESCAPE ? unfinished : "";
    const parts = text.slice(0, text.length - unfinished.length).split(TOKEN);
    parts.forEach((part, index) => (index % 2 === 0 ? this.write(part.replace(CONTROLS, "")) : this.obey(part)));
  }

  /** The text without styles. */
  get text(): string {
    return this.lines.map(plain).join("\n");
  }

  /** How many lines there are to show; an empty last one is only where the cursor waits. */
  get height(): number {
    return this.lines.at(-1)!.length ? this.lines.length : this.lines.length - 1;
  }

  private write(text: string): void {
    if (!text) return;
    let line = this.lines[this.row]!;
    if (line.length >= MOST_RUNS) line = [{ text: plain(line), style: PLAIN }];
    const run = { text, style: this.style };
    const length = width(line);
    if (this.column >= length) {
      const gap = this.column - length;
      this.lines[this.row] = join(gap ? join(line, { text: " ".repeat(gap), style: PLAIN }) : line, run);
    } else {
      const rest = cut(line, this.column + text.length, Infinity);
      this.lines[this.row] = rest.reduce<Line>(join, join(cut(line, 0, this.column), run));
    }
    this.column += text.length;
  }

  private obey(code: string): void {
    if (code === "\r") this.column = 0;
    else if (code === "\b") this.column = Math.max(0, this.column - 1);
    else if (code.endsWith("\n")) this.down(1), (this.column = 0);
    else if (code.startsWith("\x1b[")) this.control(code.at(-1)!, code.slice(2, -1));
  }

  private control(kind: string, given: string): void {
    if (/[^0-9;:]/.test(given)) return;
    const numbers = given.split(/[;:]/).map(Number);
    const count = Math.min(numbers[0] || 1, FARTHEST_COLUMN);
    const line = this.lines[this.row]!;
    switch (kind) {
      case "m": this.style = restyle(this.style, numbers); break;
      case "A": this.row = Math.max(0, this.row - count); break;
      case "B": this.down(Math.min(count, this.lines.length - 1 - this.row)); break;
      case "C": this.column = Math.min(this.column + count, FARTHEST_COLUMN); break;
      case "D": this.column = Math.max(0, this.column - count); break;
      case "G": this.column = count - 1; break;
      case "K":
        if (numbers[0] === 0) this.lines[this.row] = cut(line, 0, this.column);
        else if (numbers[0] === 2) this.lines[this.row] = [];
    }
  }

  private down(count: number): void {
    this.row += count;
    while (this.lines.length <= this.row) this.lines.push([]);
  }
}

export const plain = (line: Line): string => line.map((run) => run.text).join("");

const width = (line: Line): number => line.reduce((sum, run) => sum + run.text.length, 0);

function join(line: Line, run: Run): Line {
  const last = line.at(-1);
  if (last?.style !== run.style) return [...line, run];
  return [...line.slice(0, -1), { text: last.text + run.text, style: run.style }];
}

function cut(line: Line, from: number, to: number): Line {
  const kept: Run[] = [];
  let start = 0;
  for (const { text, style } of line) {
    const part = text.slice(Math.max(0, from - start), Math.max(0, to - start));
    if (part) kept.push({ text: part, style });
    start += text.length;
  }
  return kept;
}
