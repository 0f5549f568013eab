import { describe, expect, it } from "vitest";
import { Answer, type Cell, type Prose } from "../src/core/answer";
import type { CodeInterpreterCall, Event, Message, Response } from "../src/wire";

const response = (change: Partial<Response> = {}): Response =>
  ({ id: "resp_1", status: "in_progress", output: [], "codeact:notices": [], ...change }) as unknown as Response;

const message = (text = "", status = "in_progress"): Message =>
  ({ type: "message", id: "msg_1", role: "assistant", status, content: text ? [{ type: "output_text", text, annotations: [] }] : [] }) as unknown as Message;

const call = (change: Partial<CodeInterpreterCall> = {}): CodeInterpreterCall => ({
  type: "code_interpreter_call",
  id: "ci_1",
  container_id: "cntr_1",
  code: "",
  outputs: null,
  status: "in_progress",
  "codeact:notebook_outputs": [],
  "codeact:result": null,
  "codeact:observation": null,
  "codeact:tagged": true,
  "codeact:written": null,
  "codeact:waits_for": [],
  "codeact:continues": null,
  "codeact:ran": null, "codeact:eager": false,
  "codeact:refused": [],
  "codeact:restart": null,
  "codeact:started_s": null,
  ...change,
});

/** Events as the wire has them, numbered. */
const numbered = (...events: object[]): Event[] => events.map((event, at) => ({ ...event, sequence_number: at }) as unknown as Event);

const delta = (text: string) => ({ type: "response.output_text.delta", item_id: "msg_1", output_index: 0, delta: text });

const stream = numbered(
  { type: "response.created", response: response() },
  { type: "response.output_item.added", output_index: 0, item: message() },
  delta("Hel"),
  delta("lo"),
  { type: "response.output_item.done", output_index: 0, item: message("Hello", "completed") },
  { type: "response.output_item.added", output_index: 1, item: call() },
  { type: "response.code_interpreter_call_code.delta", item_id: "ci_1", output_index: 1, delta: "print(1)" },
  { type: "response.code_interpreter_call.interpreting", item_id: "ci_1", output_index: 1 },
  { type: "codeact:code_interpreter_call.output", item_id: "ci_1", output_index: 1, output: { output_type: "stream", name: "stdout", text: "1\n" } },
  {
    type: "response.output_item.done",
    output_index: 1,
    item: call({ code: "print(1)", status: "completed", "codeact:result": { status: "ok", duration_s: 0.1 } }),
  },
  { type: "response.completed", response: response({ status: "completed" }) },
);

function follow(events: readonly Event[], answer = new Answer(() => 7)): Answer {
  for (const event of events) answer.take(event);
  return answer;
}

const summary = (answer: Answer) =>
  answer.parts.map((part) => {
    if (part?.kind !== "cell") return part?.kind === "prose" ? part.text : part;
    return [part.code, part.state, part.outputs.shown.map((output) => output.kind === "text" && output.terminal.text)];
  });

const WHOLE = ["Hello", ["print(1)", "done", ["1\n"]]];

describe("an answer", () => {
  it("grows by its events", () => {
    const answer = follow(stream.slice(0, 4));
    expect((answer.parts[0] as Prose).text).toBe("Hello");
    expect(answer.ended).toBe(false);
    follow(stream.slice(4, 8), answer);
    expect((answer.parts[1] as Cell).state).toBe("running");
    expect((answer.parts[1] as Cell).startedAt).toBe(7);
    follow(stream.slice(8), answer);
    expect(summary(answer)).toEqual(WHOLE);
    expect(answer.ended).toBe(true);
  });

  it("is the same wherever the stream was cut and resumed, also from earlier than needed", () => {
    for (let cut = 0; cut <= stream.length; cut++) {
      for (let from = 0; from <= cut; from++) {
        expect(summary(follow(stream.slice(from), follow(stream.slice(0, cut))))).toEqual(WHOLE);
      }
    }
  });

  it("is the same when it is read from the store", () => {
    const answer = follow(stream.slice(0, 3));
    answer.restore(
      response({
        status: "completed",
        output: [
          message("Hello", "completed"),
          call({
            code: "print(1)",
            status: "completed",
            "codeact:result": { status: "ok", duration_s: 0.1 },
            "codeact:notebook_outputs": [{ output_type: "stream", name: "stdout", text: "1\n" }],
          }),
        ],
      }),
    );
    expect(summary(answer)).toEqual(WHOLE);
  });

  it("says which code was stopped when it ends early", () => {
    const answer = follow(stream.slice(0, 9));
    follow([{ type: "response.incomplete", response: response({ status: "cancelled" }), sequence_number: 9 } as Event], answer);
    expect((answer.parts[1] as Cell).state).toBe("stopped");
  });

  it("shows where earlier messages were summarised, and what the model reads of them", () => {
    const item = { type: "compaction", id: "cmp_1", encrypted_content: "", "codeact:text": "", "codeact:keeps": [] };
    const added = { type: "response.output_item.added", output_index: 0, item };
    const answer = follow(numbered(added, { type: "response.compaction.compacting", item_id: "cmp_1", output_index: 0 }));
    expect(answer.parts[0]).toMatchObject({ kind: "summary", text: "", done: false });
    const done = { type: "response.output_item.done", output_index: 0, item: { ...item, "codeact:text": "x: int = 1" } };
    answer.take({ ...done, sequence_number: 2 } as unknown as Event);
    expect(answer.parts[0]).toMatchObject({ kind: "summary", text: "x: int = 1", done: true });
  });

  it("tells each notice once", () => {
    const notice = { code: "limit_reached", message: "Too long." };
    const answer = follow(
      numbered({ type: "response.created", response: response({ "codeact:notices": [notice] }) }, { type: "codeact:notice", notice }),
    );
    expect(answer.notices).toEqual([notice]);
  });

  it("knows when the saved state of the kernel has come back", () => {
    const restored = { type: "codeact:checkpoint.restored", container_id: "c", seconds: 0.2, rerun: [], not_restored: [], checkpoint: {} };
    const answer = follow(numbered({ type: "response.created", response: response() }, restored));
    expect(answer.restored?.seconds).toBe(0.2);
  });

  it("does not repeat what a block of code says about itself", () => {
    const detail = "The kernel was killed: the code used more than its 1024 MB of memory. All variables are gone.";
    const died = call({ code: "x", status: "completed", "codeact:result": { status: "died", duration_s: 0.1, detail } as never });
    const notices = [
      { code: "kernel_replaced", message: `${detail} (limit: memory_mb)` },
      { code: "max_turns", message: "Too many." },
    ];
    const answer = new Answer();
    answer.restore(response({ status: "completed", output: [died], "codeact:notices": notices }));
    expect(answer.ownNotices).toEqual([notices[1]]);
  });

  it("passes over events that it does not know", () => {
    expect(summary(follow(numbered({ type: "response.something.new" }, { type: "codeact:other", output_index: 5 })))).toEqual([]);
  });

  it("says of a fence only where the server does, which a link to read does not", () => {
    const fenced = (change: object) => {
      const answer = new Answer();
      answer.restore(response({ status: "completed", output: [call(change)] }));
      return (answer.parts[0] as Cell).fenced;
    };
    expect([fenced({}), fenced({ "codeact:tagged": false }), fenced({ "codeact:tagged": undefined })]).toEqual([false, true, false]);
  });
});
