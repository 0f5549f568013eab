// Models that the server finds while the demo serves: the page asks again by itself, and offers them.

import { h, render } from "preact";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

class Line {
  static readonly OPEN = 1;
  static all: Line[] = [];
  readyState = 0;
  onopen = (): void => undefined;
  onmessage = (): void => undefined;
  onclose = (): void => undefined;

  constructor() {
    Line.all.push(this);
  }

  send(): void {}

  close(): void {}
}

let models: string[];

const answer = (path: string): unknown =>
  path.endsWith("v1/status")
    ? { version: "1", model: models[0], models, sandbox: null, store: null, starting: {}, examples: [] }
    : { data: [], has_more: false, "codeact:next": null };

beforeEach(() => {
  vi.useFakeTimers();
  models = ["demo"];
  Line.all = [];
  vi.stubGlobal("WebSocket", Line);
  vi.stubGlobal("fetch", (url: string | URL) =>
    Promise.resolve(new Response(JSON.stringify(answer(String(url).split("?")[0]!)), { headers: { "Content-Type": "application/json" } })),
  );
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("the page offers models that the server found after it had been opened", async () => {
  const { start, model } = await import("../src/state");
  const { line, status } = await import("../src/session");
  const { Models } = await import("../src/view/models");
  const place = document.createElement("div");
  start();
  render(h(Models, {}), place);
  line.value = "open";
  await vi.waitFor(() => expect(status.value?.models).toEqual(["demo"]));
  await vi.waitFor(() => expect(place.textContent).toBe("demo"));
  expect(place.querySelector("select")).toBeNull();

  models = ["qwen3:8b", "other", "demo"];
  await vi.advanceTimersByTimeAsync(5_000);
  await vi.waitFor(() => expect([...place.querySelectorAll("option")].map((one) => one.value)).toEqual(models));
  expect(model.value).toBe("qwen3:8b");

  models = ["another"];
  await vi.advanceTimersByTimeAsync(60_000);
  expect(status.value?.models).toHaveLength(3); // nothing is left to wait for
});
