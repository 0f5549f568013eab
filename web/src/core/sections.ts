// A block of code that runs while it is written, and its outputs enter; its sections leave, each with the outputs below it.

import type { Shown } from "./outputs";

export interface Section {
  readonly code: string;
  readonly outputs: readonly Shown[];
  readonly ran: boolean;
}

/** Cuts the code after each line with outputs below it, and after the last line that has run. */
export function sections(code: string, ran: number, shown: readonly Shown[], below: readonly number[]): Section[] {
  const lines = code.split("\n");
  const inside = (line: number): boolean => line > 0 && line < lines.length;
  const outputs = new Map<number, Shown[]>(inside(ran) ? [[ran, []]] : []);
  outputs.set(lines.length, []);
  shown.forEach((output, index) => {
    const end = inside(below[index]!) ? below[index]! : lines.length;
    if (!outputs.has(end)) outputs.set(end, []);
    outputs.get(end)!.push(output);
  });
  let begin = 0;
  return [...outputs.keys()].sort((a, b) => a - b).map((end) => {
    const section = { code: lines.slice(begin, end).join("\n"), outputs: outputs.get(end)!, ran: end <= ran };
    begin = end;
    return section;
  });
}
