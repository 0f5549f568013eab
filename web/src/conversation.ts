// One conversation: asks the user's questions over the connection, and holds the turns that come of them.

import { signal } from "@preact/signals";
import type { Decision } from "./core/approval";
import { asked, input, together, type Asked, type Attachment } from "./core/asked";
import { path } from "./core/tree";
import { Draft } from "./draft";
import { draw } from "./draw";
import { Following } from "./following";
import { api, Failed, type Feedback, type StoredTurn } from "./net/api";
import type { Connection } from "./net/connection";
import { recall, remember } from "./remembered";
import { text } from "./text";
import { Turn } from "./turn";
import { Warming } from "./warming";
import type { Event, Response } from "./wire";

/** A question may have been asked elsewhere if this page has not looked for so long. */
const FRESH_MS = 10_000;
/** How long after a refused decision it looks once more whether somebody else has decided. */
const AGAIN_MS = 1000;

/** Is called when something happens in a conversation. */
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
  readonly draft: Draft;
  turns: Turn[] = [];
  id: string | null;
  private warming: Warming | null = null;
  private chosen: string | null = null;
  private following: Following | null = null;
  private lookedAt = 0;
  private readonly connection: Connection;
  private readonly watcher: Watcher;

  constructor(id: string | null, connection: Connection, watcher: Watcher) {
    this.id = id;
    this.connection = connection;
    this.watcher = watcher;
    this.loaded.value = id === null;
    this.draft = new Draft(id);
  }

  /** Makes the conversation and claims its sandbox before there is a question, so that its first code runs at once. */
  warm(): void {
    if (!this.id && !this.turns.length) this.warming ??= new Warming(this.connection);
  }

  /** Reads what is stored, and goes on with an answer that is under way. Raises `Failed`. */
  async load(): Promise<void> {
    const { data } = await api.turns(this.id!);
    this.turns = data.filter(({ input }) => input.length).map(stored);
    this.show(recall(this.id).branch ?? null);
    this.lookedAt = Date.now();
    this.draft.giveBackUnless((key) => data.some(({ response }) => response.metadata["request"] === key));
    this.loaded.value = true;
    void this.loadRatings();
    this.goOn();
  }

  /** Reads what other tabs and devices have asked meanwhile, and follows an answer under way. Raises `Failed`. */
  async sync(): Promise<void> {
    if (this.running.value) return;
    await this.look();
    if (!this.running.value) this.goOn();
  }

  private async look(): Promise<void> {
    if (!this.id || !this.loaded.value) return;
    const { last_response_id: last } = (await api.conversation(this.id))["codeact:summary"];
    this.lookedAt = Date.now();
    if (!last || this.turns.some(({ id }) => id === last)) return;
    const { data } = await api.turns(this.id);
    const known = new Set(this.turns.map(({ id }) => id));
    const added = data.filter(({ response, input }) => input.length && !known.has(response.id)).map(stored);
    this.turns = [...this.turns.filter(isStored), ...added, ...this.turns.filter((turn) => !isStored(turn))];
    // What came of another's decision stands before the reason why the own one does not count.
    const own = this.turns.find((turn) => turn.decidedNothing && turn.id === this.chosen);
    if (own) own.previousId = path(this.turns.filter((other) => other !== own), own.previousId).at(-1)?.id ?? null;
    this.show(this.chosen);
  }

  /** Somebody else may have decided about the same. The server may just be storing that, so it looks twice. */
  private async catchUp(turn: Turn, more = 1): Promise<void> {
    const before = this.turns.length;
    await this.sync().catch(() => undefined);
    if (more && this.turns.length === before && this.chosen === turn.id) setTimeout(() => void this.catchUp(turn, more - 1), AGAIN_MS);
  }

  private goOn(): void {
    const live = this.turns.findLast((turn) => isStored(turn) && !turn.answer.ended);
    if (!live) return;
    live.answer.restart();
    this.follow(live).resume();
  }

  /** Asks after the shown turns, or as a branch after `previousId` (null: as the first question). */
  async ask(text: string, attachments: readonly Attachment[], options: object, previousId?: string | null) {
    if (this.running.value || !this.loaded.value) return;
    const shown = this.path.value.at(-1);
    const turn = new Turn(`${LOCAL}${crypto.randomUUID()}`, previousId === undefined ? (shown?.id ?? null) : previousId, { text, attachments });
    this.turns.push(turn);
    this.show(turn.id);
    this.draft.sends(turn.key, turn.asked);
    const following = this.follow(turn);
    if (previousId === undefined && Date.now() - this.lookedAt > FRESH_MS) {
      await this.look().catch(() => undefined); // The question goes its way all the same.
      turn.previousId = path(this.turns.filter((other) => other !== turn), shown?.id ?? null).at(-1)?.id ?? null;
      this.show(turn.id);
    }
    this.warming?.hurry();
    const prepared = await this.warming?.done;
    this.warming = null;
    try {
      this.id ??= prepared?.conversationId ?? (await api.createConversation()).id;
    } catch (error) {
      return following.fail(reason(error));
    }
    this.draft.moveTo(this.id);
    const follows = this.answered(turn.previousId);
    const after = follows ?? prepared?.responseId;
    if (after && !follows) turn.previousId = after;
    const place = after ? { previous_response_id: after } : { conversation: this.id };
    following.ask({ input: input(text, attachments), ...place, ...options });
  }

  /** Sends decisions about what waits for approval; the answer goes on in a turn without a question. */
  decide(items: readonly Record<string, unknown>[], decisions: readonly Decision[], options: object): void {
    if (this.running.value || !this.loaded.value) return;
    const last = this.path.value.findLast((shown) => !shown.decidedNothing);
    const turn = new Turn(`${LOCAL}${crypto.randomUUID()}`, last?.id ?? null, { text: "", attachments: [], decisions });
    this.turns = [...this.turns.filter((other) => !other.decidedNothing), turn];
    this.show(turn.id);
    this.follow(turn).ask({ input: items, previous_response_id: this.answered(turn.previousId), ...options });
  }

  /** The newest response from this turn upwards: a question that failed has none. */
  private answered(turnId: string | null): string | null {
    let id = turnId;
    while (id?.startsWith(LOCAL)) id = this.turns.find((turn) => turn.id === id)?.previousId ?? null;
    return id;
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
    if (turnId && !turnId.startsWith(LOCAL)) remember(this.id, { branch: turnId });
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
    this.draft.arrived(turn.key);
    this.lookedAt = Date.now();
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
    this.lookedAt = Date.now();
    this.watcher.ended(turn);
    if (turn.decidedNothing) void this.catchUp(turn);
    if (said.length) this.watcher.unsaid(together(said));
  }
}

/** How the ids of turns begin that the server has not answered. */
const LOCAL = "new-";
const isStored = ({ id }: Turn): boolean => !id.startsWith(LOCAL);

function stored({ response, input }: StoredTurn): Turn {
  const turn = new Turn(response.id, response.previous_response_id, asked(input), 1000 * response.created_at);
  turn.answer.restore(response);
  return turn;
}

const reason = (error: unknown): string => (error instanceof Failed && error.message) || text.line.unanswered;
