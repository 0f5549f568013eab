// The kernel's live outputs enter; what is to be shown of them leaves, as a notebook would keep it.

import { Terminal } from "./terminal";
import type { DisplayData, ExecuteResult, Output, Error as Raised, Stream } from "../wire";

export interface Text {
  readonly kind: "text";
  readonly name: Stream["name"];
  readonly terminal: Terminal;
}

export interface Rich {
  readonly kind: "rich";
  readonly data: Record<string, unknown>;
  readonly metadata: Record<string, unknown>;
  readonly displayId: string | null;
}

export interface Failure {
  readonly kind: "failure";
  readonly error: Raised;
}

const MOST_ALIKE = 100;

export type Shown = Text | Rich | Failure;

/** The outputs of one execution. `take` is the live form of `sandbox_pool.outputs.fold`. */
export class Outputs {
  readonly shown: Shown[] = [];
  /** Below which line of the code each of them stands, if it ran while it was written; 0: below all of it. */
  readonly below: number[] = [];
  /** The last line of the statement whose outputs come now. */
  line = 0;
  private clearNext = false;
  /** Where the displays of each id stand; of very many with one id, the last. */
  private readonly displays = new Map<string, number[]>();

  take(output: Output): void {
    if (output.output_type === "clear_output") {
      if (output.wait) this.clearNext = true;
      else this.clear();
      return;
    }
    if (this.clearNext) this.clear();
    switch (output.output_type) {
      case "stream": return this.stream(output);
      case "error": this.push({ kind: "failure", error: output }); return;
      case "update_display_data": {
        const { display_id: displayId, data, metadata = {} } = output;
        for (const index of this.displays.get(displayId) ?? []) {
          this.shown[index] = { kind: "rich", data, metadata, displayId };
        }
        return;
      }
      default: {
        const shown = rich(output);
        if (shown.displayId !== null) {
          const indexes = this.displays.get(shown.displayId) ?? [];
          if (indexes.push(this.shown.length) > MOST_ALIKE) indexes.shift();
          this.displays.set(shown.displayId, indexes);
        }
        this.push(shown);
      }
    }
  }

  private push(shown: Shown): void {
    this.shown.push(shown);
    this.below.push(this.line);
  }

  private stream({ name, text }: Stream): void {
    let last = this.shown.at(-1);
    if (last?.kind !== "text" || last.name !== name || this.below.at(-1) !== this.line) {
      last = { kind: "text", name, terminal: new Terminal() };
      this.push(last);
    }
    last.terminal.feed(text);
  }

  private clear(): void {
    this.shown.length = this.below.length = 0;
    this.displays.clear();
    this.clearNext = false;
  }
}

function rich(output: DisplayData | ExecuteResult): Rich {
  const displayId = (output.output_type === "display_data" && output.display_id) || null;
  return { kind: "rich", data: output.data, metadata: output.metadata ?? {}, displayId };
}
