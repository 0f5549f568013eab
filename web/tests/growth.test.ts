// What reads a stranger's text without a page is linear; `drawing.ts` has what draws it, for a real browser.

import { expect, test } from "vitest";
import { Blocks } from "../src/core/blocks";
import { coloured } from "../src/core/html";
import { Outputs } from "../src/core/outputs";
import { Terminal } from "../src/core/terminal";
import type { Output } from "../src/wire";
import { grown, growth, MARKDOWN, type Reader, SOURCES, TEXTS } from "./growth";

const updates = (n: number): Output[] => [
  ...Array.from({ length: n }, (): Output => ({ output_type: "display_data", data: {}, metadata: {}, display_id: "a" })),
  ...Array.from({ length: n }, (): Output => ({ output_type: "update_display_data", data: {}, metadata: {}, display_id: "a" })),
];

/** What reads a stranger's text in the page, under its name in docs/security.md, and what it is given. */
const READERS: Record<string, Reader> = {
  "web/terminal.Terminal": [(text) => new Terminal().feed(text), TEXTS],
  "web/blocks.Blocks": [(text) => new Blocks().update(text), MARKDOWN],
  "web/html.coloured": [(text) => coloured(text, "python"), SOURCES],
};

test.each(Object.keys(READERS))("%s reads every text in linear time", (reader) => {
  expect(grown(READERS[reader]!)).toEqual([]);
}, 60_000);

test("updates of displays of one id take linear time", () => {
  const run = (outputs: Output[]) => {
    const shown = new Outputs();
    outputs.forEach((output) => shown.take(output));
  };
  expect(growth(run, updates)).toBeLessThan(2.5);
});
