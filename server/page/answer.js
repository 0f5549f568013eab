// One answer's events enter, what the user sees of it leaves. `flush` writes what has come since the last one.

import { Code } from "./code.js";
import { make } from "./dom.js";
import { block, blocks } from "./markdown.js";

const ENDS = new Set(["response.completed", "response.incomplete", "response.failed"]);

export class Answer {
  constructor() {
    this.element = make("article", "answer");
    this.items = new Map(); // output_index → Prose, Thinking or Code
    this.dirty = new Set();
    this.told = new Set();
    this.waiting = make("p", "waiting", "Working");
    this.element.append(this.waiting);
  }

  /** Takes one event of the wire; true for the last one. */
  take(event) {
    switch (event.type) {
      case "response.created":
        event.response["codeact:notices"].forEach((notice) => this.#notice(notice));
        break;
      case "codeact:notice":
        this.#notice(event.notice);
        break;
      case "response.output_item.added":
        this.#add(event.output_index, event.item);
        break;
      default:
        if (ENDS.has(event.type)) {
          this.end(event.response);
          return true;
        }
        this.#item(event.output_index, (item) => item.take(event));
    }
    return false;
  }

  /** Shows a response as it was stored, in place of what was shown. */
  restore(response) {
    this.items.forEach((item) => item.element.remove());
    this.items.clear();
    this.dirty.clear();
    response["codeact:notices"].forEach((notice) => this.#notice(notice));
    response.output.forEach((item, index) => {
      this.#add(index, item);
      this.#item(index, (shown) => shown.restore(item));
    });
    this.end(response);
  }

  end(response) {
    this.items.forEach((item) => item.end());
    this.waiting.remove();
    const { status, error, incomplete_details: details } = response;
    if (error) this.fail(error.message);
    else if (status === "cancelled") this.element.append(make("p", "notice", "Stopped."));
    else if (details?.reason) this.element.append(make("p", "notice", `Incomplete: ${details.reason}.`));
    else if (status !== "completed") this.fail("The server lost this answer. Ask again.");
    const line = ledger(response);
    if (line) this.element.append(make("p", "ledger", line));
  }

  fail(message) {
    this.waiting.remove();
    const shown = make("p", "error", message);
    shown.setAttribute("role", "alert");
    this.element.append(shown);
  }

  /** The last stretch of prose, for those who listen. */
  get lastWords() {
    return [...this.items.values()].findLast((item) => item instanceof Prose)?.text ?? "";
  }

  flush() {
    this.dirty.forEach((item) => item.flush());
    this.dirty.clear();
  }

  #add(index, item) {
    const kinds = { message: Prose, reasoning: Thinking, code_interpreter_call: Code };
    const Kind = kinds[item.type];
    if (!Kind) return;
    const view = new Kind();
    this.items.set(index, view);
    this.waiting.before(view.element);
  }

  #item(index, change) {
    const item = this.items.get(index);
    if (!item) return;
    change(item);
    this.dirty.add(item);
  }

  #notice({ message }) {
    if (this.told.has(message)) return;
    this.told.add(message);
    this.waiting.before(make("p", "notice", message));
  }
}

class Prose {
  constructor() {
    this.element = make("div", "prose");
    this.text = "";
    this.shown = [];
  }

  take(event) {
    if (event.type === "response.output_text.delta") this.text += event.delta;
  }

  restore(item) {
    this.text = item.content.map((part) => part.text).join("");
  }

  end() {}

  flush() {
    const now = blocks(this.text);
    now.forEach((text, index) => {
      if (this.shown[index] === text) return;
      const old = this.element.children[index];
      if (old) old.replaceWith(block(text));
      else this.element.append(block(text));
    });
    while (this.element.children.length > now.length) this.element.lastChild.remove();
    this.shown = now;
  }
}

class Thinking {
  constructor() {
    this.body = make("div", "thought");
    this.element = make("details", "thinking", make("summary", "", "Thinking"), this.body);
    this.added = "";
  }

  take(event) {
    if (event.type === "response.reasoning_text.delta") this.added += event.delta;
  }

  restore(item) {
    this.added = item.content.map((part) => part.text).join("");
  }

  end() {}

  flush() {
    this.body.append(this.added);
    this.added = "";
  }
}

function ledger({ "codeact:ledger": times, usage }) {
  const parts = [];
  if (times?.first_token_s != null) parts.push(`first token ${times.first_token_s.toFixed(2)} s`);
  if (times?.total_s != null) parts.push(`total ${times.total_s.toFixed(2)} s`);
  if (usage?.total_tokens) {
    const about = usage["codeact:estimated"] ? "about " : "";
    parts.push(`${about}${usage.input_tokens.toLocaleString()} tokens in, ${usage.output_tokens.toLocaleString()} out`);
  }
  if (usage?.["codeact:cost_usd"]) parts.push(`$${usage["codeact:cost_usd"].toFixed(4)}`);
  return parts.join(" · ");
}
