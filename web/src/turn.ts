// A question and its answer, as the page shows them.

import { signal } from "@preact/signals";
import { Answer } from "./core/answer";
import type { Asked } from "./core/asked";
import type { Feedback } from "./net/api";

/** A question and its answer. `id` is the response's, once there is one. */
export class Turn {
  readonly answer = new Answer();
  /** Changes at most once per frame, when there is something new to show. */
  readonly version = signal(0);
  /** Why there is no answer, in words; empty where there is one. */
  failure = "";
  rating: Feedback["rating"] = null;
  id: string;
  /** Stays the same while the id comes. */
  readonly key: string;
  previousId: string | null;
  readonly asked: Asked;
  /** When it was asked, in milliseconds. */
  readonly askedAt: number;

  constructor(id: string, previousId: string | null, asked: Asked, askedAt = Date.now()) {
    this.id = this.key = id;
    this.previousId = previousId;
    this.asked = asked;
    this.askedAt = askedAt;
  }

  get ended(): boolean {
    return this.answer.ended || this.failure !== "";
  }

  /** Whether these are decisions that did not reach the server, or that it refused: they count for nothing. */
  get decidedNothing(): boolean {
    return this.asked.decisions !== undefined && this.failure !== "" && !this.answer.response;
  }

  /** What the answer says in the end. */
  get words(): string {
    const last = this.answer.parts.findLast((part) => part?.kind === "prose");
    return last?.kind === "prose" ? last.text : "";
  }
}
