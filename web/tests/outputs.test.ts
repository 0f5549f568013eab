import { describe, expect, it } from "vitest";
import { form } from "../src/core/mime";
import { Outputs } from "../src/core/outputs";
import { stretches } from "../src/core/traceback";
import type { Output } from "../src/wire";

function shown(...outputs: Output[]): unknown[] {
  const folded = new Outputs();
  for (const output of outputs) folded.take(output);
  return folded.shown.map((one) => (one.kind === "text" ? one.terminal.text : one.kind === "rich" ? one.data["text/plain"] : one.error.ename));
}

const text = (name: "stdout" | "stderr", words: string): Output => ({ output_type: "stream", name, text: words });
const display = (words: string, display_id: string | null = null): Output => ({
  output_type: "display_data",
  data: { "text/plain": words },
  display_id,
});

describe("outputs", () => {
  it("join neighbouring texts of one stream", () => {
    expect(shown(text("stdout", "a"), text("stdout", "b"), text("stderr", "c"), text("stdout", "d"))).toEqual(["ab", "c", "d"]);
  });

  it("replace a display that is updated, and no other", () => {
    const update: Output = { output_type: "update_display_data", display_id: "x", data: { "text/plain": "new" } };
    expect(shown(display("old", "x"), display("other", "y"), update)).toEqual(["new", "other"]);
  });

  it("are cleared at once, or when the next one comes", () => {
    expect(shown(text("stdout", "a"), { output_type: "clear_output", wait: false })).toEqual([]);
    expect(shown(text("stdout", "a"), { output_type: "clear_output", wait: true })).toEqual(["a"]);
    expect(shown(text("stdout", "a"), { output_type: "clear_output", wait: true }, text("stdout", "b"))).toEqual(["b"]);
  });
});

describe("a displayed value", () => {
  it("is shown in its richest safe form", () => {
    expect(form({ "text/plain": "x", "image/png": "aGk=" }, {}).kind).toBe("picture");
    expect(form({ "text/plain": "x", "text/html": "<b>x</b>" }, {}).kind).toBe("html");
    expect(form({ "text/plain": "x", "text/latex": "$x$" }, {})).toEqual({ kind: "markdown", markdown: "$$x$$" });
    expect(form({ "application/javascript": "alert(1)" }, {})).toEqual({ kind: "text", text: "[application/javascript]" });
  });

  it("is one chart where Bokeh displays a place, a script and the loading of its library", () => {
    const script = 'draw({"roots":{"p1":"c3-4"},"root_ids":["p1"]})</script>';
    const page = form({ "application/javascript": script, "application/vnd.bokehjs_exec.v0+json": "" }, {});
    expect(page).toMatchObject({ kind: "page", html: expect.stringContaining('<div id="c3-4" data-root-id="p1"></div><script>draw') });
    expect((page as { html: string }).html.match(/<\/script/g)).toHaveLength(4);
    expect(form({ "text/html": '\n  <div id="c3-4" data-root-id="p1" style="display: contents;"></div>\n' }, {}).kind).toBe("nothing");
    expect(form({ "text/html": "<style>.bk-notebook-logo {}</style><span>Loading BokehJS ...</span>" }, {}).kind).toBe("nothing");
    expect(form({ "application/vnd.bokehjs_load.v0+json": "…" }, {}).kind).toBe("nothing");
  });

  it("is fetched from this server's store alone", () => {
    const at = (url: string) => form({ "text/plain": "x" }, { "codeact:url": { "image/png": url } }).kind;
    expect(at("/v1/blobs/0a1b")).toBe("picture");
    expect(at("https://elsewhere/x.png")).toBe("text");
    expect(at("/v1/blobs/../session")).toBe("text");
  });
});

describe("a traceback", () => {
  it("folds neighbouring frames of libraries into one", () => {
    const found = stretches([
      "\x1b[31m---------------------------------------------------------------------------\x1b[39m",
      "\x1b[31mValueError\x1b[39m  Traceback (most recent call last)",
      "\x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[1]\x1b[39m\x1b[32m, line 1\x1b[39m",
      "\x1b[36mFile \x1b[39m\x1b[32m/usr/lib/python3.11/json/decoder.py:355\x1b[39m, in raw_decode",
      "\x1b[36mFile \x1b[39m\x1b[32m/venv/lib/python3.11/site-packages/pandas/io.py:1\x1b[39m",
      "\x1b[36mFile \x1b[39m\x1b[32m/workspace/mine.py:1\x1b[39m",
      "ValueError: no",
    ]);
    expect(found.map((part) => (part.kind === "folded" ? part.frames : part.kind))).toEqual(["shown", 2, "shown"]);
  });
});
