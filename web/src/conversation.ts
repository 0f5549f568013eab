// One conversation: what the user asks enters, its turns leave; each follows its answer over the connection.

import { signal } from "@preact/signals";
import { asked, input, together, type Asked, type Attachment } from "./core/asked";
import { path } from "./core/tree";
import { draw } from "./draw";
import { Following } from "./following";
import { api, Failed, type Feedback, type StoredTurn } from "./net/api";
import type { Connection } from "./net/connection";
import { text } from "./text";
import { Turn } from "./turn";
import { Warming } from "./warming";
import type { Event, Response } from "./wire";

/** Who hears of what happens in a conversation. */
export interface Watcher {
  took(event: Event): void;
  ended(turn: Turn): void;
  /** What was said meanwhile came too late, or could not be taken in. */
  unsaid(said: Asked): void;
}

export class Conversation {
  readonly path = signal<readonly Turn[]>([]);
  readonly running = signal<Turn | null>(null);
  readonly stopping = signal(false);
  /** What was said while an answer is under way; the next response begins with it. */
  readonly said = signal<readonly Asked[]>([]);
  /** False while what is stored is being read. */
  readonly loaded = signal(false);
  turns: Turn[] = [];
  id: string | null;
  private warming: Warming | null = null;
  private chosen: string | null = null;
  private following: Following | null = null;
  private readonly connection: Connection;
  private readonly watcher: Watcher;

  constructor(id: string | null, connection: Connection, watcher: Watcher) {
    this.id = id;
    this.connection = connection;
    this.watcher = watcher;
    this.loaded.value = id === null;
  }

  /** Makes the conversation and claims its sandbox before there is a question, so that its first code runs at once. */
  warm(): void {
    if (!this.id && !this.turns.length) this.warming ??= new Warming(this.connection);
  }

  /** Reads what is stored, and goes on with an answer that is under way. Raises `Failed`. */
  async load(): Promise<void> {
    const { data } = await api.turns(this.id!);
    this.turns = data.filter(({ input }) => input.length).map(stored);
    this.show(null);
    this.loaded.value = true;
    void this.loadRatings();
    const live = this.turns.findLast((turn) => !turn.answer.ended);
    if (!live) return;
    live.answer.restart();
    this.follow(live).resume();
  }

  /** Asks after the shown turns, or as a branch after `previousId` (null: as the first question). */
  async ask(text: string, attachments: readonly Attachment[], options: object, previousId?: string | null) {
    if (this.running.value) return;
    const follows = previousId === undefined ? (this.path.value.at(-1)?.id ?? null) : previousId;
    const turn = new Turn(`new-${crypto.randomUUID()}`, follows, { text, attachments });
    this.turns.push(turn);
    this.show(turn.id);
    const following = this.follow(turn);
    this.warming?.hurry();
    const prepared = await this.warming?.done;
    this.warming = null;
    try {
      this.id ??= prepared?.conversationId ?? (await api.createConversation()).id;
    } catch (error) {
      return following.fail(reason(error));
    }
    const after = follows ?? prepared?.responseId;
    if (after && !follows) turn.previousId = after;
    const place = after ? { previous_response_id: after } : { conversation: this.id };
    following.ask({ input: input(text, attachments), ...place, ...options });
  }

  steer(text: string, attachments: readonly Attachment[]): void {
    const turn = this.running.value;
    this.said.value = [...this.said.value, { text, attachments }];
    if (turn && this.following) this.connection.steer(turn.id, input(text, attachments), this.following);
  }

  stop(): void {
    if (!this.running.value) return;
    this.stopping.value = true;
    if (this.running.value.answer.response) this.connection.cancel(this.running.value.id);
  }

  /** Shows the branch that the turn is on. */
  show(turnId: string | null): void {
    this.chosen = turnId;
    this.path.value = path(this.turns, this.chosen);
  }

  private follow(turn: Turn): Following {
    this.running.value = turn;
    this.stopping.value = false;
    this.following = new Following(turn, this, this.connection);
    return this.following;
  }

  /** The server told the id of a response: the running turn's, or that of one which goes on after it. */
  begun(turn: Turn, response: Response, said = together(this.said.value)): Turn {
    if (turn.answer.response && turn.id !== response.id) {
      const next = new Turn(response.id, turn.id, said);
      this.said.value = [];
      this.turns.push(next);
      this.running.value = turn = next;
    }
    turn.id = response.id;
    this.show(turn.id);
    if (this.stopping.value) this.connection.cancel(turn.id);
    return turn;
  }

  /** What the user thinks of an answer; null takes it back. */
  async rate(turn: Turn, rating: Feedback["rating"], comment: string | null): Promise<void> {
    turn.rating = rating;
    draw(turn);
    await api.rate(turn.id, rating, comment);
  }

  private async loadRatings(): Promise<void> {
    const { data } = await api.feedback(this.id!).catch(() => ({ data: [] }));
    const known = new Map(data.map((one) => [one.response_id, one.rating]));
    for (const turn of this.turns.filter(({ id }) => known.has(id))) {
      turn.rating = known.get(turn.id)!;
      draw(turn);
    }
  }

  took(event: Event): void {
    this.watcher.took(event);
  }

  ended(following: Following, turn: Turn): void {
    if (following !== this.following) return;
    this.connection.leave(following, turn.answer.ended);
    this.following = null;
    this.running.value = null;
    this.stopping.value = false;
    const said = this.said.value;
    this.said.value = [];
    this.watcher.ended(turn);
    if (said.length) this.watcher.unsaid(together(said));
  }
}

function stored({ response, input }: StoredTurn): Turn {
  const turn = new Turn(response.id, response.previous_response_id, asked(input));
  turn.answer.restore(response);
  return turn;
}

const reason = (error: unknown): string => (error instanceof Failed && error.message) || text.line.unanswered;
