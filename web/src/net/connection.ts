// Sends requests over one WebSocket, and passes the events of each answer to its follower.
// It opens a lost connection again; every answer under way then goes on after its last event.

import type { Event } from "../wire";
import { subprotocols } from "./access";

export interface Refusal {
  message: string;
  code: string | null;
  param: string | null;
}

/** Who follows one answer. Every method is called by the connection. */
export interface Follower {
  /** The response's id once the server has told it; null while it is unknown whether the question arrived. */
  readonly responseId: string | null;
  /** The sequence_number of the last event that came. */
  readonly last: number;
  take(event: Event): void;
  refused(error: Refusal): void;
  /** The connection is back, and the question may or may not have arrived. */
  unsure(): void;
}

export type LineState = "connecting" | "open" | "lost" | "offline" | "key" | "origin";

const FIRST_RETRY_MS = 300;
const LONGEST_RETRY_MS = 5000;
const REFUSALS: Record<number, LineState> = { 4401: "key", 4403: "origin" };
const MESSAGE_TOO_BIG = 1009;

/** The code of a refusal of a question that is larger than the server takes. */
export const TOO_LARGE = "message_too_large";

export class Connection {
  private socket: WebSocket | null = null;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private retryMs = FIRST_RETRY_MS;
  private readonly followers = new Map<string, Follower>();
  private readonly free: string[] = [];
  /** Answers that are to stop, until they have ended: a line that breaks may have swallowed the word. */
  private readonly stops = new Set<string>();
  private named = 0;
  private hiddenSince = 0;
  private readonly url: string;
  private readonly onState: (state: LineState) => void;

  constructor(url: string, onState: (state: LineState) => void) {
    this.url = url;
    this.onState = onState;
    addEventListener("offline", () => this.drop("offline"));
    addEventListener("online", () => this.open());
    addEventListener("pageshow", (event) => event.persisted && this.open());
    document.addEventListener("visibilitychange", () => this.look());
  }

  get isOpen(): boolean {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  open(): void {
    clearTimeout(this.retry);
    if (this.isOpen || this.socket?.readyState === WebSocket.CONNECTING) return;
    const socket = new WebSocket(this.url, subprotocols());
    this.socket = socket;
    socket.onopen = () => {
      if (socket !== this.socket) return;
      this.retryMs = FIRST_RETRY_MS;
      for (const [stream, follower] of [...this.followers]) this.goOn(stream, follower);
      for (const responseId of [...this.stops]) this.stop(responseId);
      this.onState("open");
    };
    socket.onmessage = (message) => socket === this.socket && this.receive(String(message.data));
    socket.onclose = ({ code }) => socket === this.socket && this.lost(code);
  }

  /** Sends a question; its events go to `follower` until `leave`. */
  create(body: Record<string, unknown>, follower: Follower): void {
    this.say({ type: "response.create", stream_id: this.streamOf(follower), truncation: "auto", include: ["codeact:events"], ...body });
  }

  /** Reads an answer that was asked for elsewhere, or before this page was loaded. */
  resume(follower: Follower): void {
    this.goOn(this.streamOf(follower), follower);
  }

  /** Has the answer stop: at once, or as soon as the connection is back. */
  cancel(responseId: string): void {
    this.stops.add(responseId);
    this.stop(responseId);
  }

  /** The errors of a steer come to its answer's follower. */
  steer(responseId: string, input: unknown, follower: Follower): void {
    this.say({ type: "response.steer", stream_id: this.streamOf(follower), previous_response_id: responseId, input });
  }

  /** The socket that is open goes on under another token of the same owner. */
  refresh(token: string): void {
    this.say({ type: "codeact:session.refresh", token });
  }

  /** Ends the following. A stream that has more to send is not used again: that must not reach another. */
  leave(follower: Follower, ended: boolean): void {
    for (const [stream, other] of this.followers) {
      if (other !== follower) continue;
      this.followers.delete(stream);
      if (ended && follower.responseId !== null) this.stops.delete(follower.responseId);
      if (ended) this.free.push(stream);
    }
  }

  private streamOf(follower: Follower): string {
    for (const [stream, other] of this.followers) if (other === follower) return stream;
    const stream = this.free.pop() ?? `s${++this.named}`;
    this.followers.set(stream, follower);
    return stream;
  }

  private goOn(stream: string, follower: Follower): void {
    if (!this.isOpen) return;
    if (follower.responseId === null) return follower.unsure();
    const { responseId: response_id, last: starting_after } = follower;
    this.say({ type: "codeact:response.resume", stream_id: stream, response_id, starting_after, include: ["codeact:events"] });
  }

  private stop(responseId: string): void {
    if (!this.isOpen) return;
    this.say({ type: "response.cancel", response_id: responseId });
    const followed = [...this.followers.values()].some((follower) => follower.responseId === responseId);
    if (!followed) this.stops.delete(responseId);
  }

  private say(event: Record<string, unknown>): void {
    if (this.isOpen) this.socket!.send(JSON.stringify(event));
  }

  private receive(data: string): void {
    const frame = JSON.parse(data) as (Event | { type: "error"; error: Refusal }) & { stream_id?: string };
    const follower = frame.stream_id === undefined && frame.type === "error" ? this.unanswered : this.followers.get(frame.stream_id ?? "");
    if (!follower) return;
    if (frame.type === "error") follower.refused(frame.error);
    else follower.take(frame);
  }

  /** The newest question that the server has not answered: an error that names no stream is about it. */
  private get unanswered(): Follower | undefined {
    return [...this.followers.values()].findLast(({ responseId }) => responseId === null);
  }

  private lost(code: number): void {
    this.socket = null;
    // Sent again, the question would close the next socket, too.
    if (code === MESSAGE_TOO_BIG) this.unanswered?.refused({ message: "", code: TOO_LARGE, param: null });
    this.free.length = 0;
    const refusal = REFUSALS[code];
    this.onState(refusal ?? (navigator.onLine ? "lost" : "offline"));
    if (refusal) return;
    this.retry = setTimeout(() => this.open(), this.retryMs * (0.8 + 0.4 * Math.random()));
    this.retryMs = Math.min(2 * this.retryMs, LONGEST_RETRY_MS);
  }

  private drop(state: LineState): void {
    clearTimeout(this.retry);
    const socket = this.socket;
    this.socket = null;
    this.free.length = 0;
    socket?.close();
    this.onState(state);
  }

  /** After a sleep a socket may be dead without knowing; a new one loses nothing. */
  private look(): void {
    if (document.hidden) {
      this.hiddenSince = Date.now();
    } else if (!this.isOpen) {
      this.retryMs = FIRST_RETRY_MS;
      this.open();
    } else if (this.followers.size && Date.now() - this.hiddenSince > 20_000) {
      this.drop("connecting");
      this.open();
    }
  }
}
