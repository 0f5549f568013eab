import { describe, expect, it } from "vitest";
import { classes } from "../src/core/sgr";
import { Terminal } from "../src/core/terminal";

function shown(...pieces: string[]): string {
  const terminal = new Terminal();
  for (const piece of pieces) terminal.feed(piece);
  return terminal.text;
}

function styles(text: string): [string, string][] {
  const terminal = new Terminal();
  terminal.feed(text);
  return terminal.lines.flat().map((run) => [run.text, classes(run.style)]);
}

describe("a terminal", () => {
  it("starts a line for each newline", () => expect(shown("a\nb\r\nc")).toBe("a\nb\nc"));

  it("writes over the line after a carriage return, and keeps what is longer", () => {
    expect(shown("12345\rab")).toBe("ab345");
    expect(shown("50%\r", "100%\n")).toBe("100%\n");
  });

  it("takes a carriage return and its newline apart in two pieces", () => expect(shown("a\r", "\nb")).toBe("a\nb"));

  it("takes escapes that are cut anywhere", () => {
    const text = "x\x1b[31mred\x1b[0m\x1b]0;title\x07y\n";
    for (let at = 0; at <= text.length; at++) expect(shown(text.slice(0, at), text.slice(at))).toBe("xredy\n");
  });

  it("erases a line and moves as progress bars ask for", () => {
    expect(shown("working\r\x1b[Kdone")).toBe("done");
    expect(shown("one\ntwo\x1b[A\rONE")).toBe("ONE\ntwo");
    expect(shown("ab\b!")).toBe("a!");
    expect(shown("a\x1b[3Cb")).toBe("a   b");
  });

  it("shows no control characters", () => expect(shown("a\x00\x07\x7fb")).toBe("ab"));

  it("keeps colours over lines and writes over them one by one", () => {
    expect(styles("\x1b[1;31mred\nstill\x1b[0m plain")).toEqual([
      ["red", "bold fg1"],
      ["still", "bold fg1"],
      [" plain", ""],
    ]);
    expect(styles("\x1b[32mgreen\x1b[0m\rX")).toEqual([
      ["X", ""],
      ["reen", "fg2"],
    ]);
  });

  it("knows 256 colours and true ones", () => {
    const terminal = new Terminal();
    terminal.feed("\x1b[38;5;9ma\x1b[38;5;196mb\x1b[48;2;1;2;300mc");
    expect(terminal.lines[0]!.map(({ style }) => [style.colour, style.ground])).toEqual([
      ["9", ""],
      ["rgb(255, 0, 0)", ""],
      ["rgb(255, 0, 0)", "rgb(1, 2, 255)"],
    ]);
  });

  it("cannot be made to grow by a hostile position", () => {
    expect(shown("\x1b[999999999Cx").length).toBeLessThan(20_000);
    expect(shown("\x1b[999999999Bx")).toBe("x");
    expect(shown(`\x1b]${"a".repeat(10_000)}`, "b")).toBe("b");
  });

  it("counts the lines that there are to see", () => {
    const terminal = new Terminal();
    expect(terminal.height).toBe(0);
    terminal.feed("a\nb\n");
    expect(terminal.height).toBe(2);
    terminal.feed("c");
    expect(terminal.height).toBe(3);
  });
});
