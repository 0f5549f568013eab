// A stop that is pressed while the line is down is sent when it is back, and again after a line that broke.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Connection, type Follower } from "../src/net/connection";

class Line {
  static readonly OPEN = 1;
  static readonly CONNECTING = 0;
  static all: Line[] = [];
  readyState = Line.CONNECTING;
  sent: Record<string, unknown>[] = [];
  onopen = (): void => undefined;
  onmessage = (): void => undefined;
  onclose = (_event: { code: number }): void => undefined;

  constructor() {
    Line.all.push(this);
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }

  opens(): void {
    this.readyState = Line.OPEN;
    this.onopen();
  }

  breaks(): void {
    this.readyState = 3;
    this.onclose({ code: 1006 });
  }

  close(): void {
    this.readyState = 3;
  }
}

const follower: Follower = {
  responseId: "resp_1",
  last: 3,
  take: () => undefined,
  refused: () => undefined,
  unsure: () => undefined,
};

const cancels = (line: Line | undefined): unknown[] =>
  line!.sent.filter((frame) => frame["type"] === "response.cancel").map((frame) => frame["response_id"]);

beforeEach(() => {
  Line.all = [];
  vi.stubGlobal("WebSocket", Line);
  vi.stubGlobal("addEventListener", () => undefined);
  vi.stubGlobal("document", { addEventListener: () => undefined, hidden: false });
  vi.stubGlobal("location", { protocol: "http:", host: "localhost" });
  vi.stubGlobal("navigator", { onLine: true });
});

afterEach(() => vi.unstubAllGlobals());

test("a stop that is pressed while the line is down is sent when it is back", () => {
  const connection = new Connection("ws://localhost/v1/responses", () => undefined);
  connection.open();
  Line.all[0]!.opens();
  connection.resume(follower);
  Line.all[0]!.breaks();
  connection.cancel("resp_1");
  expect(cancels(Line.all[0])).toEqual([]);
  connection.open();
  Line.all[1]!.opens();
  expect(cancels(Line.all[1])).toEqual(["resp_1"]);
});

test("a stop is sent again until its answer has ended", () => {
  const connection = new Connection("ws://localhost/v1/responses", () => undefined);
  connection.open();
  Line.all[0]!.opens();
  connection.resume(follower);
  connection.cancel("resp_1");
  expect(cancels(Line.all[0])).toEqual(["resp_1"]);
  Line.all[0]!.breaks();
  connection.open();
  Line.all[1]!.opens();
  expect(cancels(Line.all[1])).toEqual(["resp_1"]);
  connection.leave(follower, true);
  Line.all[1]!.breaks();
  connection.open();
  Line.all[2]!.opens();
  expect(cancels(Line.all[2])).toEqual([]);
});
