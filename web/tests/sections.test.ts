// Code that runs while it is written, as the page shows it.

import { expect, test } from "vitest";
import { Answer, type Cell } from "../src/core/answer";
import { sections } from "../src/core/sections";
import type { Event } from "../src/wire";

const AT = { item_id: "ci_1", output_index: 0 };
const stream = (text: string) => ({ output_type: "stream", name: "stdout", text });

function cellOf(...events: object[]): Cell {
  const answer = new Answer(() => 7);
  const added = { type: "response.output_item.added", output_index: 0, item: { type: "code_interpreter_call", id: "ci_1", "codeact:tagged": true } };
  [added, ...events].forEach((event, index) => answer.take({ ...AT, ...event, sequence_number: index } as unknown as Event));
  return answer.parts[0] as Cell;
}

const code = (delta: string) => ({ type: "response.code_interpreter_call_code.delta", delta });
const progress = (ran: number, line: number | null) => ({ type: "codeact:code_interpreter_call.progress", ran, line });
const output = (text: string) => ({ type: "codeact:code_interpreter_call.output", output: stream(text) });

function drawn(cell: Cell): [string, string, boolean][] {
  return sections(cell.code, cell.ran ?? 0, cell.outputs.shown, cell.outputs.below).map((section) => [
    section.code,
    section.outputs.map((shown) => (shown.kind === "text" ? shown.terminal.text : shown.kind)).join("|"),
    section.ran,
  ]);
}

test("outputs stand below their statement while the code grows", () => {
  const cell = cellOf(code("a = 1\nprint(a)\nb = "), progress(1, 2), output("1\n"), progress(2, null));
  expect(drawn(cell)).toEqual([["a = 1\nprint(a)", "1\n", true], ["b = ", "", false]]);
});

test("texts of two statements are not joined, and those of one are", () => {
  const cell = cellOf(code("print(1)\nprint(2)\n3"), progress(0, 1), output("1"), output("\n"), progress(1, 2), output("2\n"));
  expect(drawn(cell)).toEqual([["print(1)", "1\n", true], ["print(2)", "2\n", false], ["3", "", false]]);
});

test("what belongs to no known line stands below all of the code", () => {
  expect(sections("a\nb", 9, [], [])).toEqual([{ code: "a\nb", outputs: [], ran: true }]);
  const cell = cellOf(code("a\nb"), output("early\n"), progress(1, 7), output("late\n"));
  expect(drawn(cell)).toEqual([["a", "", true], ["b", "early\n|late\n", false]]);
});

test("a block that runs as a whole has no sections", () => {
  expect(cellOf(code("print(1)"), output("1\n")).ran).toBeNull();
});
