// Comma-separated values (RFC 4180) enter, as far as they are to be shown; rows leave.

const MOST_ROWS = 500;
const MOST_COLUMNS = 60;

export interface Rows {
  rows: string[][];
  /** There are more than are shown. */
  more: boolean;
}

/** `separator` null: the one of comma, semicolon and tab that the first line has most often. */
export function parseCsv(text: string, separator: string | null): Rows {
  const first = text.slice(0, text.indexOf("\n") < 0 ? text.length : text.indexOf("\n"));
  const between = separator ?? [",", ";", "\t"].reduce((best, one) => (count(first, one) > count(first, best) ? one : best));
  const rows: string[][] = [];
  let row: string[] = [];
  let at = 0;
  while (at < text.length && rows.length < MOST_ROWS) {
    const [cell, next] = text[at] === '"' ? quotedCell(text, at + 1) : plainCell(text, at, between);
    if (row.length < MOST_COLUMNS) row.push(cell);
    at = next + 1;
    if (text[next] === between) {
      if (at >= text.length && row.length < MOST_COLUMNS) row.push("");
      continue;
    }
    if (text[next] === "\r" && text[at] === "\n") at++;
    rows.push(row);
    row = [];
  }
  if (row.length) rows.push(row);
  return { rows, more: at < text.length };
}

const count = (line: string, mark: string): number => line.split(mark).length;

/** The cell and where it ends. */
function plainCell(text: string, from: number, separator: string): [string, number] {
  let at = from;
  while (at < text.length && text[at] !== separator && text[at] !== "\n" && text[at] !== "\r") at++;
  return [text.slice(from, at), at];
}

function quotedCell(text: string, from: number): [string, number] {
  const parts: string[] = [];
  for (let start = from; ; ) {
    const end = text.indexOf('"', start);
    if (end < 0) return [parts.join("") + text.slice(start), text.length];
    parts.push(text.slice(start, end));
    if (text[end + 1] !== '"') return [parts.join(""), end + 1];
    parts.push('"');
    start = end + 2;
  }
}
