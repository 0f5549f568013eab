// One block of code: its events enter; the source, how it went and its live output leave.

import { make } from "./dom.js";
import { rich } from "./rich.js";
import { Screen } from "./screen.js";

export class Code {
  constructor() {
    this.code = make("code");
    this.state = make("span", "state", "writing");
    this.copy = make("button", "copy", "Copy");
    this.copy.type = "button";
    this.copy.hidden = !navigator.clipboard; // absent where the page does not come over https or loopback
    this.copy.addEventListener("click", () => this.#copy());
    const bar = make("figcaption", "", make("span", "", "Python"), this.state, this.copy);
    this.outputs = make("div", "outputs");
    this.outputs.hidden = true;
    this.element = make("figure", "code", bar, make("pre", "source", this.code), this.outputs);
    this.added = "";
    this.screens = new Set();
    this.displays = new Map();
    this.last = null; // the stream that the next text of the same name goes on with
    this.clearNext = false;
  }

  take(event) {
    switch (event.type) {
      case "response.code_interpreter_call_code.delta":
        this.added += event.delta;
        break;
      case "response.code_interpreter_call_code.done":
        this.#source(event.code);
        break;
      case "response.code_interpreter_call.interpreting":
        this.#state("running");
        break;
      case "codeact:code_interpreter_call.output":
        this.#output(event.output);
        break;
      case "response.output_item.done":
        this.#result(event.item["codeact:result"]);
    }
  }

  restore(item) {
    this.#source(item.code);
    item["codeact:notebook_outputs"].forEach((output) => this.#output(output));
    this.#result(item["codeact:result"]);
  }

  /** Where the answer ended before the code did. */
  end() {
    if (this.element.dataset.state !== "done") this.#state("stopped");
  }

  flush() {
    if (this.added) this.code.append(this.added);
    this.added = "";
    for (const screen of this.screens) {
      const box = screen.element;
      const following = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
      screen.flush();
      if (following) box.scrollTop = box.scrollHeight;
    }
    this.screens.clear();
  }

  #source(code) {
    this.added = "";
    this.code.textContent = code;
  }

  #state(name, text = name) {
    this.element.dataset.state = name;
    this.state.textContent = text;
  }

  #result(result) {
    if (!result) return;
    const words = { error: "error, ", interrupted: "stopped, ", timeout: "time limit, ", died: "kernel died, " };
    this.#state("done", `${words[result.status] ?? ""}${result.duration_s.toFixed(2)} s`);
    this.element.classList.toggle("failed", result.status !== "ok");
  }

  #output(output) {
    if (output.output_type === "clear_output" && output.wait) {
      this.clearNext = true;
      return;
    }
    if (this.clearNext || output.output_type === "clear_output") {
      this.outputs.replaceChildren();
      this.last = null;
      this.clearNext = false;
    }
    switch (output.output_type) {
      case "stream":
        if (this.last?.name !== output.name) {
          this.last = { name: output.name, screen: this.#screen(`stream ${output.name}`) };
        }
        this.#feed(this.last.screen, output.text);
        break;
      case "error": {
        this.last = null;
        const lines = output.traceback.join("\n") || `${output.ename}: ${output.evalue}`;
        this.#feed(this.#screen("stream traceback"), lines);
        break;
      }
      case "display_data":
      case "execute_result":
      case "update_display_data": {
        this.last = null;
        const shown = rich(output.data, output.metadata);
        if (output.output_type === "update_display_data") this.displays.get(output.display_id)?.replaceWith(shown);
        else this.outputs.append(shown);
        if (output.display_id) this.displays.set(output.display_id, shown);
      }
    }
    this.outputs.hidden = !this.outputs.hasChildNodes();
  }

  #screen(className) {
    const screen = new Screen(className);
    this.outputs.append(screen.element);
    return screen;
  }

  #feed(screen, text) {
    screen.feed(text);
    this.screens.add(screen);
  }

  async #copy() {
    await navigator.clipboard.writeText(this.code.textContent);
    this.copy.textContent = "Copied";
    setTimeout(() => (this.copy.textContent = "Copy"), 1500);
  }
}
