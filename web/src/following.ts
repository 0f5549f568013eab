// Follows one answer over the connection, also when the line breaks or the server restarts, and updates its turn.

import { asked, type Asked } from "./core/asked";
import { draw } from "./draw";
import { api, Failed } from "./net/api";
import { TOO_LARGE, type Connection, type Follower, type Refusal } from "./net/connection";
import { text } from "./text";
import type { Turn } from "./turn";
import type { Event, Response } from "./wire";

const AGAIN_MS = 1000;
const LOOKS = 10;

/** The conversation of an answer, as far as following one concerns it. */
export interface Home {
  readonly id: string | null;
  /** A response has begun: the turn that shows it, with what was said if it is a new one. */
  begun(turn: Turn, response: Response, said?: Asked): Turn;
  took(event: Event): void;
  ended(following: Following, turn: Turn): void;
}

/** What the connection and one answer have to do with each other, through losses and restarts. */
export class Following implements Follower {
  private body: Record<string, unknown> | null = null;
  private resumed = false;
  private looks = 0;
  private turn: Turn;
  private readonly conversation: Home;
  private readonly connection: Connection;

  constructor(turn: Turn, conversation: Home, connection: Connection) {
    this.turn = turn;
    this.conversation = conversation;
    this.connection = connection;
  }

  get responseId(): string | null {
    return this.turn.id.startsWith("new-") ? null : this.turn.id;
  }

  get last(): number {
    return this.turn.answer.last;
  }

  /** The request carries a mark, by which it is known again where the connection was lost meanwhile. */
  ask(body: Record<string, unknown>): void {
    this.body = { ...body, metadata: { request: this.turn.key } };
    this.connection.create(this.body, this);
  }

  resume(): void {
    this.connection.resume(this);
  }

  take(event: Event): void {
    this.resumed = false;
    if ((event.type as string) === "response.steer.failed") return this.unsteered();
    if (event.type === "response.created") this.turn = this.conversation.begun(this.turn, event.response);
    this.turn.answer.take(event);
    draw(this.turn);
    this.conversation.took(event);
    if (!this.turn.answer.ended) return;
    if (this.turn.answer.steered) this.expect(this.turn, LOOKS);
    else this.conversation.ended(this, this.turn);
  }

  /** What was said came too late, or could not be taken in. */
  private unsteered(): void {
    if (!this.turn.answer.ended) return;
    this.turn.answer.steered = false;
    this.conversation.ended(this, this.turn);
  }

  /** The response that goes on with what was said comes by itself, but not on a stream that was resumed. */
  private expect(steered: Turn, looks: number): void {
    setTimeout(async () => {
      if (this.turn !== steered) return;
      const { data } = await api.turns(this.conversation.id!).catch(() => ({ data: [] }));
      const next = data.find(({ response }) => response.previous_response_id === steered.id);
      if (this.turn !== steered) return;
      if (next) {
        this.turn = this.conversation.begun(steered, next.response, asked(next.input));
        this.resume();
      } else if (looks) {
        this.expect(steered, looks - 1);
      } else {
        this.unsteered();
      }
    }, AGAIN_MS);
  }

  refused(error: Refusal): void {
    if (this.responseId === null) this.fail(error.message || (error.code === TOO_LARGE ? text.line.tooLarge : ""));
    else if (!this.resumed) void this.restore();
  }

  /**
   * Sends the question again unless the server has it. It looks twice, a second apart, since the server may just be
   * storing the question. A line that breaks meanwhile begins this anew.
   */
  unsure(): void {
    if (this.body) void this.lookFor(this.body, ++this.looks, 1);
  }

  private async lookFor(sent: Record<string, unknown>, look: number, more: number): Promise<void> {
    const isOver = () => look !== this.looks || this.responseId !== null || this.turn.ended;
    const again = (left: number) => setTimeout(() => isOver() || void this.lookFor(sent, look, left), AGAIN_MS);
    try {
      const { data } = await api.turns(this.conversation.id!);
      if (isOver()) return;
      const known = data.find(({ response }) => response.metadata["request"] === this.turn.key);
      if (known) {
        this.turn = this.conversation.begun(this.turn, known.response);
        this.resume();
      } else if (more) {
        again(more - 1);
      } else {
        this.connection.create(sent, this);
      }
    } catch (error) {
      if (isOver()) return;
      if (error instanceof Failed && error.status > 0) this.fail(error.message);
      else again(more);
    }
  }

  fail(message: string): void {
    this.turn.failure = message || text.line.unanswered;
    draw(this.turn);
    this.conversation.ended(this, this.turn);
  }

  /** For an answer whose events the server no longer has: what it has stored of it. */
  private async restore(): Promise<void> {
    this.resumed = true;
    const { turn } = this;
    try {
      const response = await api.response(turn.id);
      if (response.status === "in_progress" || response.status === "queued") {
        setTimeout(() => this.resume(), AGAIN_MS); // another process answers, or takes over soon
        this.resumed = false;
        return;
      }
      turn.answer.restore(response);
      draw(turn);
      this.conversation.ended(this, turn);
    } catch (error) {
      this.resumed = false;
      if (error instanceof Failed && error.status > 0) this.fail(error.message);
    }
  }
}
