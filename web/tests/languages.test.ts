import { expect, it, vi } from "vitest";
import { coloured } from "../src/core/html";
import { grammar } from "../src/core/languages";

it("are loaded when code is written in them, under each of their names", async () => {
  expect(coloured("SELECT 1", "sql")).toBe("SELECT 1");
  await vi.waitFor(() => expect(coloured("SELECT 1", "postgresql")).toContain("hljs-keyword"), 10_000);
  grammar("tsx");
  await vi.waitFor(() => expect(coloured("const x = 1", "typescript")).toContain("hljs-keyword"), 10_000);
});

it("are not sought where the name is none", () => {
  for (const name of ["", "constructor", "__proto__", "../x", "klingon"]) expect(grammar(name)).toBeNull();
});
