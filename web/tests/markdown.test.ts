import { describe, expect, it } from "vitest";
import { Blocks } from "../src/core/blocks";
import { fileOf, marked, prose, table } from "../src/core/html";

const TEXT = `# Title

A paragraph
of two lines, with $x^2$.

- one
- two

  more of two

\`\`\`python
def f():

    return 1
\`\`\`

| a | b |
|---|---|
| 1 | 2 |

$$
x = 1
$$

1. first
2. second

End.`;

const all = (blocks: Blocks) => [...blocks.finished, ...blocks.rest].map((block) => block.text.trim());

describe("blocks", () => {
  it("are the same however the text arrives", () => {
    const whole = all(new Blocks().update(TEXT));
    expect(whole).toHaveLength(8);
    for (const size of [1, 3, 7, 50]) {
      const growing = new Blocks();
      for (let at = size; at < TEXT.length; at += size) growing.update(TEXT.slice(0, at));
      expect(all(growing.update(TEXT))).toEqual(whole);
    }
  });

  it("never change once they are finished", () => {
    const growing = new Blocks();
    let before: string[] = [];
    for (let at = 1; at <= TEXT.length; at++) {
      growing.update(TEXT.slice(0, at));
      const now = growing.finished.map((block) => block.text);
      expect(now.slice(0, before.length)).toEqual(before);
      before = now;
    }
  });

  it("start anew for another text", () => {
    const blocks = new Blocks().update("One.\n\nTwo.\n\nThree.");
    expect(all(blocks.update("Other."))).toEqual(["Other."]);
  });
});

// What is taken away for safety is tested in a real browser: tests/web/test_answers.py.
const parsed = (text: string) => marked.parse(text, { async: false });

describe("math", () => {
  it("is neither in prices, nor in shell variables, nor in code", () => {
    const html = parsed("a range of $5-$15. Set `$HOME` and `$PATH`, pay $3 or `$4`. $HOME and $PATH, \\(a `b\\)`");
    expect(html).not.toContain("data-tex");
    expect(html.match(/<code dir="ltr">[^<]*/g)).toHaveLength(4);
    expect(parsed("it costs $5, so $x$ is 5")).toContain('data-tex="x"');
  });

  it("is marked, and prices are left alone", () => {
    expect(parsed("$x^2$ and \\(y\\)")).toContain('data-tex="x^2"');
    expect(parsed("$5 and $6")).not.toContain("data-tex");
    expect(parsed("$$\nx\n$$")).toContain('data-tex="x" data-display="block"');
  });
});

describe("a list of tasks", () => {
  it("tells which are done", () => {
    const html = prose("- [x] read\n- [ ] write");
    expect(html.match(/data-task="(?:done|open)" role="img" aria-label="[^"]*"/g)).toEqual([
      'data-task="done" role="img" aria-label="Done"',
      'data-task="open" role="img" aria-label="Not done"',
    ]);
  });
});

describe("a table of code's", () => {
  it("is left to the frame when it is anything else", () => {
    expect(table("<table><tr><td>1</td></tr></table>")).toBeNull();
    expect(table('<style type="text/css">#T_1{}</style><table class="dataframe"></table>')).toBeNull();
  });
});

describe("text that is nested without an end", () => {
  it.each([">", "> ", "- "])("is shown as it was written: %j", (mark) => {
    const text = mark.repeat(16_000) + "a";
    const { finished, rest } = new Blocks().update(text);
    const shown = [...finished, ...rest];
    expect(shown.length).toBeGreaterThan(0);
    for (const block of shown) expect(() => prose(block.text)).not.toThrow();
  });
});

describe("a paragraph of thousands of marks", () => {
  it("is shown as it was written", () => {
    expect(prose("*a_".repeat(5_000))).toContain("<pre>");
    expect(prose("\\( ".repeat(5_000))).toContain("<pre>");
  });

  it("is not what a long list or table of marked words is", () => {
    expect(prose("- **name**: [link](https://a.example) and *more*\n".repeat(300))).not.toContain("<pre>");
    expect(prose("| a | b |\n|---|---|\n" + "| **1** | `2` |\n".repeat(300))).not.toContain("<pre>");
  });
});

describe("an address of a file", () => {
  it("names the file, wherever models say that it lies", () => {
    for (const address of ["report.csv", "./out/report.csv", "sandbox:/workspace/report.csv", "sandbox:/mnt/data/report.csv", "/workspace/report.csv"]) {
      expect(fileOf(address)).toBe("report.csv");
    }
    expect(fileOf("my%20report.csv")).toBe("my report.csv");
    for (const address of ["https://a.example/report.csv", "mailto:a@b.example", "//a.example/x", "#top", "/v1/blobs/aa", ""]) {
      expect(fileOf(address)).toBeNull();
    }
  });

  it("is no link of the page's own, and fetches nothing", () => {
    const html = prose("[a](report.csv) ![b](chart.png) [c](https://a.example) [d](sandbox:/x/%22y)");
    expect(html).not.toMatch(/src=|href="(?!https:\/\/a\.example)/);
    expect(html.match(/data-file="[^"]*"/g)).toEqual(['data-file="report.csv"', 'data-file="chart.png"', 'data-file="&quot;y"']);
  });
});
