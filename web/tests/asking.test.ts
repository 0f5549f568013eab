// A question is asked once, whatever the line does; nothing that was typed is lost, and no branch is forgotten.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Conversation } from "../src/conversation";
import { asked, input, type Asked } from "../src/core/asked";
import { Connection } from "../src/net/connection";
import * as browser from "../src/remembered";

class Line {
  static readonly OPEN = 1;
  static readonly CONNECTING = 0;
  static all: Line[] = [];
  readyState = Line.CONNECTING;
  sent: Record<string, unknown>[] = [];
  onopen = (): void => undefined;
  onmessage = (_message: { data: string }): void => undefined;
  onclose = (_event: { code: number }): void => undefined;

  constructor() {
    Line.all.push(this);
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }

  opens(): this {
    this.readyState = Line.OPEN;
    this.onopen();
    return this;
  }

  breaks(code = 1006): void {
    this.readyState = 3;
    this.onclose({ code });
  }

  says(frame: object): void {
    this.onmessage({ data: JSON.stringify(frame) });
  }

  close(): void {
    this.readyState = 3;
  }
}

interface Stored {
  response: Record<string, unknown>;
  input: unknown[];
}

const question = (text: string) => [{ type: "message", id: "msg", role: "user", status: "completed", content: [{ type: "input_text", text }] }];

const turn = (id: string, previous: string | null = null, more: object = {}): Stored => ({
  response: { id, previous_response_id: previous, status: "completed", output: [], metadata: {}, "codeact:notices": [], ...more },
  input: question(`question of ${id}`),
});

let stored: Stored[];
let lookups: (() => void)[] | null;
const unsaid: Asked[] = [];
const ended: string[] = [];

const reply = (path: string): unknown => {
  if (path.endsWith("/responses")) return { data: stored };
  if (path.endsWith("/feedback")) return { data: [] };
  return { id: "conv_1", "codeact:summary": { last_response_id: stored.at(-1)?.response["id"] ?? null } };
};

beforeEach(() => {
  vi.useFakeTimers();
  Line.all = [];
  stored = [];
  lookups = null;
  unsaid.length = ended.length = 0;
  localStorage.clear();
  sessionStorage.clear();
  browser.turnOn();
  vi.stubGlobal("WebSocket", Line);
  vi.stubGlobal("fetch", async (url: string | URL) => {
    const path = new URL(String(url)).pathname;
    const found = JSON.stringify(reply(path));
    if (lookups && path.endsWith("/responses")) await new Promise<void>((resolve) => lookups!.push(resolve));
    return new Response(found, { headers: { "Content-Type": "application/json" } });
  });
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const settle = () => vi.advanceTimersByTimeAsync(0);

function open(id: string | null = "conv_1"): [Conversation, Connection] {
  const connection = new Connection("ws://localhost/v1/responses", () => undefined);
  connection.open();
  Line.all.at(-1)!.opens();
  const watcher = { took: () => undefined, ended: (one: { failure: string }) => ended.push(one.failure), unsaid: (said: Asked) => unsaid.push(said) };
  return [new Conversation(id, connection, watcher), connection];
}

const reconnect = (connection: Connection): Line => {
  Line.all.at(-1)!.breaks();
  connection.open();
  return Line.all.at(-1)!.opens();
};

const creates = () => Line.all.flatMap(({ sent }) => sent.filter(({ type }) => type === "response.create"));

test("nothing is asked before what is stored has been read", async () => {
  stored = [turn("resp_1")];
  const [conversation] = open();
  await conversation.ask("too early", [], {});
  expect(creates()).toEqual([]);
  await conversation.load();
  await conversation.ask("in time", [], {});
  expect(creates()).toMatchObject([{ previous_response_id: "resp_1" }]);
});

test("a question is sent once more, however often the line broke before it was known whether it arrived", async () => {
  const [conversation, connection] = open();
  await conversation.load();
  await conversation.ask("once", [], {});
  expect(creates()).toHaveLength(1);
  lookups = [];
  reconnect(connection);
  await settle();
  reconnect(connection);
  await settle();
  expect(lookups).toHaveLength(2);
  lookups.forEach((go) => go());
  lookups = null;
  await vi.advanceTimersByTimeAsync(10_000);
  expect(creates()).toHaveLength(2);
});

test("a question that the server stored a moment after the first look is not sent again", async () => {
  const [conversation, connection] = open();
  await conversation.load();
  await conversation.ask("once", [], {});
  const [sent] = creates();
  reconnect(connection);
  await settle();
  stored = [turn("resp_1", null, { status: "in_progress", metadata: sent!["metadata"] })];
  await vi.advanceTimersByTimeAsync(10_000);
  expect(creates()).toHaveLength(1);
  expect(Line.all.at(-1)!.sent).toMatchObject([{ type: "codeact:response.resume", response_id: "resp_1" }]);
});

test("after a failed question the next one follows the last answer", async () => {
  stored = [turn("resp_1")];
  const [conversation] = open();
  await conversation.load();
  await conversation.ask("refused", [], {});
  Line.all[0]!.says({ type: "error", stream_id: creates()[0]!["stream_id"], error: { message: "No.", code: null, param: null } });
  expect(ended).toEqual(["No."]);
  await conversation.ask("again", [], {});
  expect(creates().at(-1)).toMatchObject({ previous_response_id: "resp_1" });
});

test("of two who decide, the later one sees what came of the other's decision, and may decide again if there is none", async () => {
  stored = [turn("resp_1")];
  const [conversation] = open();
  await conversation.load();
  const shown = () => conversation.path.value.map(({ id }) => (id.startsWith("new-") ? "own" : id));
  const decide = () => conversation.decide([{ type: "codeact:approval_response" }], [{ approve: true }], {});
  const refuse = (message: string) =>
    Line.all[0]!.says({ type: "error", stream_id: creates().at(-1)!["stream_id"], error: { message, code: "approval_decided", param: null } });
  decide();
  refuse("Try later.");
  await settle();
  expect(shown()).toEqual(["resp_1", "own"]);
  expect(conversation.path.value.at(-1)!.decidedNothing).toBe(true);
  decide();
  expect(creates().at(-1)).toMatchObject({ previous_response_id: "resp_1" });
  refuse("It was already approved.");
  await settle();
  stored.push(turn("resp_2", "resp_1", { status: "in_progress" }));
  await vi.advanceTimersByTimeAsync(1000);
  expect(shown()).toEqual(["resp_1", "resp_2", "own"]);
  expect(conversation.path.value.at(-1)!.failure).toBe("It was already approved.");
  expect(conversation.running.value?.id).toBe("resp_2");
});

test("an error that names no stream reaches the question that was sent last", async () => {
  const [conversation] = open();
  await conversation.load();
  await conversation.ask("strange", [], {});
  Line.all[0]!.says({ type: "error", error: { message: "The message is too long.", code: "message_too_large", param: null } });
  expect(ended).toEqual(["The message is too long."]);
});

test("a question on which the server closed the socket because of its size is not sent again", async () => {
  const [conversation, connection] = open();
  await conversation.load();
  await conversation.ask("x".repeat(100), [], {});
  Line.all[0]!.breaks(1009);
  expect(ended).toHaveLength(1);
  connection.open();
  Line.all.at(-1)!.opens();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(creates()).toHaveLength(1);
});

test("the files of a stored question go along when it is asked again", () => {
  const content = [
    { type: "input_text", text: "Look" },
    { type: "input_image", image_url: "/v1/blobs/aa", detail: "auto" },
    { type: "input_file", filename: "a.png", file_id: "aa" },
    { type: "input_file", filename: "b.csv", file_id: "bb" },
  ];
  const found = asked([{ type: "message", id: "1", role: "user", status: "completed", content }] as never);
  expect(input(found.text, found.attachments)).toMatchObject([
    {
      content: [
        { type: "input_text", text: "Look" },
        { type: "input_image", file_id: "aa" },
        { type: "input_file", filename: "a.png", file_id: "aa" },
        { type: "input_file", filename: "b.csv", file_id: "bb" },
      ],
    },
  ]);
});

test("each conversation keeps its draft, through a reload too", () => {
  const [first] = open("conv_1");
  const [second] = open("conv_2");
  first.draft.words.value = "for the first";
  first.draft.attachments.value = [{ name: "a.csv", type: "text/csv", size: 3, url: "", fileId: "aa" }];
  second.draft.words.value = "for the second";
  expect(open("conv_1")[0].draft.words.value).toBe("for the first");
  expect(open("conv_1")[0].draft.attachments.value).toMatchObject([{ name: "a.csv", fileId: "aa" }]);
  expect(open("conv_2")[0].draft.words.value).toBe("for the second");
  second.draft.words.value = "";
  expect(open("conv_2")[0].draft.words.value).toBe("");
});

test("a question that never arrived is in the box again after a reload, and one that did is not", async () => {
  const [conversation] = open();
  await conversation.load();
  await conversation.ask("on its way", [], {});
  const [sent] = creates();
  const [reloaded] = open();
  await reloaded.load();
  expect(reloaded.draft.words.value).toBe("on its way");

  reloaded.draft.words.value = "";
  await conversation.ask("ignored while one runs", [], {});
  await reloaded.ask("another", [], {});
  stored = [turn("resp_1", null, { metadata: creates().at(-1)!["metadata"] })];
  expect(sent!["metadata"]).not.toEqual(creates().at(-1)!["metadata"]);
  const [again] = open();
  await again.load();
  expect(again.draft.words.value).toBe("");
});

test("the chosen branch is shown again after a reload", async () => {
  stored = [turn("resp_1"), turn("resp_2", "resp_1"), turn("resp_3", "resp_1")];
  const [conversation] = open();
  await conversation.load();
  const shown = (one: Conversation) => one.path.value.map(({ id }) => id);
  expect(shown(conversation)).toEqual(["resp_1", "resp_3"]);
  conversation.show("resp_2");
  const [reloaded] = open();
  await reloaded.load();
  expect(shown(reloaded)).toEqual(["resp_1", "resp_2"]);
});

test("a tab that missed a question goes on after it instead of making a branch", async () => {
  stored = [turn("resp_1")];
  const [conversation] = open();
  await conversation.load();
  stored = [...stored, turn("resp_2", "resp_1")];
  await vi.advanceTimersByTimeAsync(60_000);
  await conversation.ask("and then?", [], {});
  expect(creates()).toMatchObject([{ previous_response_id: "resp_2" }]);
  expect(conversation.path.value.map(({ id }) => id).slice(0, 2)).toEqual(["resp_1", "resp_2"]);
});

test("a tab that is told of a question elsewhere shows it", async () => {
  stored = [turn("resp_1")];
  const [conversation] = open();
  await conversation.load();
  stored = [...stored, turn("resp_2", "resp_1", { status: "in_progress" })];
  await conversation.sync();
  expect(conversation.path.value.map(({ id }) => id)).toEqual(["resp_1", "resp_2"]);
  expect(conversation.running.value?.id).toBe("resp_2");
  expect(Line.all[0]!.sent.at(-1)).toMatchObject({ type: "codeact:response.resume", response_id: "resp_2" });
});
