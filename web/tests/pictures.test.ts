import { expect, it } from "vitest";
import { shows } from "../src/view/written";

it("a text shows a picture only by its own mark", () => {
  expect(shows("see ![a chart](sandbox:/workspace/chart.png)", "chart.png")).toBe(true);
  expect(shows("see [a chart](chart.png)", "chart.png")).toBe(false);
  expect(shows("![other](other.png) and chart.png", "chart.png")).toBe(false);
});
