import { describe, expect, test } from "vitest";
import { coloured } from "../src/core/html";
import { Growing } from "../src/core/growing";

const FUNCTION = 'def add(a, b):\n    """Adds.\n\nNot code.\n    """\n    return a + b\n\n\n';
const LONG = FUNCTION.repeat(100);

function grown(code: string, language: string, step = 7): Growing {
  const growing = new Growing(language);
  for (let to = step; to < code.length; to += step) growing.update(code.slice(0, to));
  return growing.update(code);
}

describe("code that grows", () => {
  test("is whole, and its finished stretches never change", () => {
    const growing = new Growing("python");
    let before: string[] = [];
    for (let to = 11; to <= LONG.length; to += 11) {
      const { finished, rest } = growing.update(LONG.slice(0, to));
      expect(finished.slice(0, before.length)).toEqual(before);
      expect(finished.join("") + rest).toBe(LONG.slice(0, to));
      before = [...finished];
    }
    expect(before.length).toBeGreaterThan(3);
  });

  test("is coloured as if it were whole", () => {
    const { finished, rest } = grown(LONG, "python");
    const together = [...finished, rest].map((text) => coloured(text, "python")).join("");
    expect(together).toBe(coloured(LONG, "python"));
  });

  test("leaves a bounded rest to colour anew", () => {
    expect(grown(LONG, "python").rest.length).toBeLessThan(1600);
    expect(grown('{"a": [1,\n'.repeat(1000), "json").rest.length).toBeLessThan(1600);
  });

  test("begins again where it turns out to be other code", () => {
    const growing = grown(LONG, "python").update("x = 1");
    expect([growing.finished, growing.rest]).toEqual([[], "x = 1"]);
  });

  test("without a place to cut stays in one", () => {
    const text = `x = """\n${"line\n".repeat(1000)}`;
    expect(grown(text, "python", 500).rest).toBe(text);
  });
});
