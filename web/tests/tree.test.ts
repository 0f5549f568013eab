import { expect, it } from "vitest";
import { asked, input } from "../src/core/asked";
import { path, siblings } from "../src/core/tree";

const turn = (id: string, previousId: string | null = null) => ({ id, previousId });
//  a ─ b ─ c
//   └─ d        (asked again)
const turns = [turn("a"), turn("b", "a"), turn("c", "b"), turn("d", "a")];
const ids = (found: { id: string }[]) => found.map(({ id }) => id).join("");

it("shows the newest branch unless another one is chosen", () => {
  expect(ids(path(turns, null))).toBe("ad");
  expect(ids(path(turns, "b"))).toBe("abc");
  expect(ids(path(turns, "gone"))).toBe("ad");
  expect(path([], null)).toEqual([]);
});

it("switches between the turns that follow the same turn", () => {
  expect(ids(siblings(turns, turns[1]!))).toBe("bd");
  expect(ids(siblings(turns, turns[0]!))).toBe("a");
});

it("sends pictures to the model and every file to the sandbox", () => {
  const files = [
    { name: "a.png", type: "image/png", size: 3, url: "data:image/png;base64,aGk=" },
    { name: "b.csv", type: "text/csv", size: 3, url: "data:text/csv;base64,aGk=" },
  ];
  const [message] = input("Look", files) as [{ content: { type: string }[] }];
  expect(message.content.map(({ type }) => type)).toEqual(["input_text", "input_image", "input_file", "input_file"]);
});

it("reads a stored question back, without what others said", () => {
  const stored = [
    { type: "message", id: "1", role: "developer", status: "completed", content: [{ type: "input_text", text: "note" }] },
    { type: "message", id: "2", role: "user", status: "completed", content: [{ type: "input_text", text: "Hi" }] },
  ] as const;
  expect(asked(stored as never).text).toBe("Hi");
});
