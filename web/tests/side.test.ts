import { describe, expect, it } from "vitest";
import { form } from "../src/core/mime";
import { parseCsv } from "../src/side/csv";

describe("a CSV file", () => {
  it("is read with its quotes, line ends and separators", () => {
    expect(parseCsv('a,b\r\n"x, ""y""",2\n,\n', null)).toEqual({ rows: [["a", "b"], ['x, "y"', "2"], ["", ""]], more: false });
    expect(parseCsv("a;b\n1,5;2", null).rows).toEqual([["a", "b"], ["1,5", "2"]]);
    expect(parseCsv('a\n"never closed', "\t").rows).toEqual([["a"], ["never closed"]]);
    expect(parseCsv("", null)).toEqual({ rows: [], more: false });
  });

  it("is shown up to a number of rows and columns", () => {
    const long = parseCsv(`${"1,".repeat(99)}1\n`.repeat(2_000), null);
    expect([long.rows.length, long.rows[0]!.length, long.more]).toEqual([500, 60, true]);
  });
});

describe("a chart", () => {
  it("is known by its type, whatever else is displayed with it", () => {
    const spec = { data: [] };
    expect(form({ "application/vnd.plotly.v1+json": spec, "text/html": "<div>" }, {})).toEqual({ kind: "chart", library: "plotly", spec });
    expect(form({ "application/vnd.vegalite.v6+json": spec, "text/plain": "x" }, {})).toEqual({ kind: "chart", library: "vega", spec });
    expect(form({ "application/vnd.plotly.v1+json": "no object", "text/plain": "x" }, {})).toEqual({ kind: "text", text: "x" });
  });

  it("of Bokeh is a page whose script cannot end early", () => {
    const shown = form({ "application/vnd.bokehjs_exec.v0+json": "", "text/html": "<div></div>", "application/javascript": "a('</script>')" }, {});
    expect(shown.kind === "page" && shown.html).toContain("a('<\\/script>')");
    expect(form({ "application/vnd.bokehjs_load.v0+json": "", "application/javascript": "x" }, {})).toEqual({ kind: "nothing" });
  });
});
