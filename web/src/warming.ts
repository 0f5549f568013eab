// A connection enters; a conversation that has its sandbox leaves, before there is a question.

import type { Connection, Follower } from "./net/connection";
import type { Event } from "./wire";

export interface Prepared {
  conversationId: string;
  responseId: string;
}

/** A request that asks the model nothing (`generate: false`). Without an answer the question goes first. */
export class Warming implements Follower {
  readonly responseId = null;
  readonly last = -1;
  readonly done: Promise<Prepared | null>;
  private resolve!: (prepared: Prepared | null) => void;
  private prepared: Prepared | null = null;
  private hurried = false;
  private readonly connection: Connection;

  constructor(connection: Connection) {
    this.connection = connection;
    this.done = new Promise((resolve) => (this.resolve = resolve));
    connection.create({ input: [], generate: false }, this);
  }

  take(event: Event): void {
    if (event.type === "response.created") {
      const { id, conversation } = event.response;
      this.prepared = conversation && { conversationId: conversation.id, responseId: id };
      if (this.hurried) this.hurry();
    } else if (event.type === "response.completed" || event.type === "response.incomplete" || event.type === "response.failed") {
      this.end(this.prepared, true); // there is a conversation, whether its sandbox could be had or not
    }
  }

  /** There is a question: where no sandbox could be had yet, that waits for it, and tells why. */
  hurry(): void {
    this.hurried = true;
    if (this.prepared) this.connection.cancel(this.prepared.responseId);
  }

  refused(): void {
    this.end(null, true);
  }

  unsure(): void {
    this.end(null, false);
  }

  private end(prepared: Prepared | null, ended: boolean): void {
    this.connection.leave(this, ended);
    this.prepared = null;
    this.resolve(prepared);
  }
}
