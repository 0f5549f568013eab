// One response's events enter, in order; the parts of its answer leave, as far as they have come.

import { Outputs } from "./outputs";
import type { CallStep, CheckpointRestored, ContainerFileCitation, Event, ExecutionResult, Item, McpCall, Notice, Response } from "../wire";

interface Part {
  readonly id: string;
  /** Counts the changes, so that a face can tell what to draw again. */
  changes: number;
}

export interface Prose extends Part {
  readonly kind: "prose";
  text: string;
  /** The model wrote it after its code, before it knew the code's result. */
  readonly early: boolean;
  done: boolean;
}

export interface Thinking extends Part {
  readonly kind: "thinking";
  text: string;
  done: boolean;
}

export interface Cell extends Part {
  readonly kind: "cell";
  code: string;
  state: "writing" | "running" | "done" | "stopped";
  outputs: Outputs;
  /** How many of its lines have run while the model writes the others; null if it runs as a whole. */
  ran: number | null;
  /** The model wrote a Markdown block of Python, without the tags that mark code to be run. */
  readonly fenced: boolean;
  /** The ids of what it waits for: a decision, or a function's value. */
  waitsFor: readonly string[];
  result: ExecutionResult | null;
  /** When it began to run, by this page's clock; null for one that had run before the page saw it. */
  startedAt: number | null;
}

/** The code called a function outside of its sandbox. */
export interface Call extends Part {
  readonly kind: "call";
  name: string;
  arguments: string;
  output: string | null;
  error: string | null;
  /** What an agent that the call started has said and run so far. */
  steps: CallStep[];
  done: boolean;
}

/** Earlier messages were summarised; `text` is what the model reads in their place, empty while it is being written. */
export interface Summary extends Part {
  readonly kind: "summary";
  text: string;
  done: boolean;
}

/** Code, or a call that code makes, needs approval before it happens. */
export interface Asking extends Part {
  readonly kind: "asking";
  readonly of: "code" | "call";
  readonly name: string;
  /** The code, or the call's arguments as JSON. */
  readonly body: string;
  /** The rules that ask. */
  readonly reasons: readonly string[];
  done: boolean;
}

export type AnswerPart = Prose | Thinking | Cell | Call | Summary | Asking;

export class Answer {
  /** The response as the server last told it; its `output` is in `parts`. */
  response: Response | null = null;
  /** By the index in the response's output; null for an item of a kind that is not shown. */
  readonly parts: (AnswerPart | null)[] = [];
  readonly notices: Notice[] = [];
  /** Files that the answer's code wrote. */
  readonly files: ContainerFileCitation[] = [];
  /** The sandbox that its code ran in. */
  containerId: string | null = null;
  /** Why nothing happens just now. */
  waitsFor = "";
  /** Something was said meanwhile, and another response goes on with it. */
  steered = false;
  /** The saved state that came back in this answer, while it is live. */
  restored: CheckpointRestored | null = null;
  /** The sequence_number of the last event that was taken. */
  last = -1;
  ended = false;
  private readonly now: () => number;

  constructor(now: () => number = Date.now) {
    this.now = now;
  }

  /** The notices, without those that a block of code shows in its place. They may add the name of the limit. */
  get ownNotices(): Notice[] {
    const details = this.parts.flatMap((part) => (part?.kind === "cell" && part.result?.detail ? [part.result.detail] : []));
    return this.notices.filter(({ message }) => !details.some((detail) => message === detail || message.startsWith(`${detail} (limit: `)));
  }

  /** Takes the next event. One that came before changes nothing, so that a resumed stream doubles nothing. */
  take(event: Event): AnswerPart | null {
    if (event.sequence_number <= this.last) return null;
    this.last = event.sequence_number;
    this.waitsFor = event.type === "codeact:status" ? event.message : "";
    switch (event.type) {
      case "response.created":
      case "response.in_progress":
        this.adopt(event.response);
        return null;
      case "response.completed":
      case "response.incomplete":
      case "response.failed":
        this.adopt(event.response);
        this.end();
        return null;
      case "codeact:notice":
        this.notice(event.notice);
        return null;
      case "codeact:checkpoint.restored":
        this.restored = event;
        return null;
      case "response.steer.accepted":
        this.steered = true;
        return null;
      case "response.output_text.annotation.added":
        this.cite(event.annotation);
        return null;
      case "response.output_item.added":
        this.sandbox(event.item);
        return (this.parts[event.output_index] = part(event.item));
      default:
        return "output_index" in event ? this.change(event) : null;
    }
  }

  /** Shows the response as it is stored; what came live beyond that stays. */
  restore(response: Response): void {
    this.adopt(response);
    response.output.forEach((item, index) => {
      const stored = part(item);
      if (stored) finish(stored, item);
      this.parts[index] = stored;
      this.sandbox(item);
      if (item.type !== "message") return;
      for (const { annotations } of item.content) for (const file of annotations) this.cite(file as ContainerFileCitation);
    });
    if (response.status !== "in_progress" && response.status !== "queued") this.end();
  }

  /** Forgets what it shows, for a stream that is read from its beginning. */
  restart(): void {
    this.parts.length = 0;
    this.last = -1;
  }

  private change(event: Extract<Event, { output_index: number }>): AnswerPart | null {
    const at = this.parts[event.output_index];
    if (!at) return null;
    at.changes++;
    if (event.type === "response.output_item.done") {
      finish(at, event.item);
    } else if (at.kind === "cell") {
      switch (event.type) {
        case "response.code_interpreter_call_code.delta": at.code += event.delta; break;
        case "response.code_interpreter_call_code.done": at.code = event.code; break;
        case "response.code_interpreter_call.interpreting":
          at.state = "running";
          at.startedAt = this.now();
          break;
        case "codeact:code_interpreter_call.progress":
          at.ran = event.ran;
          at.outputs.line = event.line ?? event.ran;
          break;
        case "codeact:code_interpreter_call.output": at.outputs.take(event.output);
      }
    } else if (at.kind === "call") {
      if (event.type === "response.mcp_call_arguments.done" || event.type === "response.function_call_arguments.done") {
        at.arguments = event.arguments;
      } else if (event.type === "codeact:mcp_call.step") {
        at.steps.push(event.step);
      }
    } else if (at.kind !== "asking" && (event.type === "response.output_text.delta" || event.type === "response.reasoning_text.delta")) {
      at.text += event.delta;
    }
    return at;
  }

  private adopt(response: Response): void {
    this.response = response;
    for (const notice of response["codeact:notices"]) this.notice(notice);
  }

  private sandbox(item: Item): void {
    if (item.type === "code_interpreter_call") this.containerId = item.container_id;
  }

  private cite(file: ContainerFileCitation): void {
    if (!this.files.some((known) => known.file_id === file.file_id)) this.files.push(file);
  }

  private notice(notice: Notice): void {
    if (!this.notices.some((known) => known.message === notice.message)) this.notices.push(notice);
  }

  private end(): void {
    this.ended = true;
    for (const at of this.parts) {
      if (!at) continue;
      if (at.kind !== "cell") at.done = true;
      else if (at.state !== "done") at.state = "stopped";
      at.changes++;
    }
  }
}

function part(item: Item): AnswerPart | null {
  const { id } = item;
  switch (item.type) {
    case "message": return { kind: "prose", id, changes: 0, text: "", early: !!item["codeact:before_result_of"], done: false };
    case "reasoning": return { kind: "thinking", id, changes: 0, text: "", done: false };
    case "compaction": return { kind: "summary", id, changes: 0, text: "", done: false };
    case "code_interpreter_call":
      return {
        kind: "cell",
        id,
        changes: 0,
        code: "",
        state: "writing",
        outputs: new Outputs(),
        ran: null,
        fenced: item["codeact:tagged"] === false, // What strangers see does not say it.
        waitsFor: [],
        result: null,
        startedAt: null,
      };
    case "function_call":
    case "custom_tool_call":
    case "mcp_call": {
      const { name } = item;
      const call = { name, arguments: "", output: null, error: null, steps: [] };
      return { kind: "call", id, changes: 0, ...call, done: false };
    }
    case "codeact:approval_request":
      return { kind: "asking", id, changes: 0, of: "code", name: "", body: item.code, reasons: item.reasons, done: true };
    case "mcp_approval_request": {
      const name = item.server_label === "host" ? item.name : `${item.server_label}.${item.name}`;
      return { kind: "asking", id, changes: 0, of: "call", name, body: item.arguments, reasons: item["codeact:reasons"], done: true };
    }
    default:
      return null;
  }
}

/**
 * What the whole item says counts more than its deltas, except for outputs, which came live as they were. Items of a
 * shared conversation lack what readers need not know.
 */
function finish(at: AnswerPart, item: Item): void {
  if (at.kind === "cell" && item.type === "code_interpreter_call") {
    at.code = item.code;
    at.result = item["codeact:result"];
    at.waitsFor = item["codeact:waits_for"] ?? [];
    at.state = at.result || item.status === "completed" ? "done" : "stopped";
    if (!at.outputs.shown.length) for (const output of item["codeact:notebook_outputs"]) at.outputs.take(output);
  } else if (
    at.kind === "call" &&
    (item.type === "mcp_call" || item.type === "function_call" || item.type === "custom_tool_call")
  ) {
    at.arguments = item.type === "custom_tool_call" ? item.input : item.arguments;
    if (item.type === "mcp_call") {
      [at.output, at.error, at.steps] = [item.output, wordsOf(item.error), item["codeact:steps"] ?? []];
    }
    at.done = true;
  } else if (at.kind === "summary" && item.type === "compaction") {
    at.text = item["codeact:text"];
    at.done = true;
  } else if ((at.kind === "prose" || at.kind === "thinking") && (item.type === "message" || item.type === "reasoning")) {
    at.text = item.content.map((content) => content.text).join("");
    at.done = true;
  }
}

/** Why a call of a tool failed; earlier versions stored it as a text. */
function wordsOf(error: McpCall["error"]): string | null {
  return error === null || typeof error === "string" ? error : error.content.map((part) => part["text"] ?? "").join("\n");
}
