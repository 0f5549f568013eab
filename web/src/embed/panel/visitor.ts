// Who the visitor is: a token from the host page, or one for nobody, enters; it is checked, used, and renewed in time.

import { signal } from "@preact/signals";
import { use } from "../../net/access";
import { api, Failed, type EmbedSession } from "../../net/api";
import { connection } from "../../session";
import { text } from "../../text";
import { look } from "./look";

const RENEW_BEFORE_S = 60;
const SHORTEST_S = 10;
const KEY = "codeact visitor of ";

/** Why there is no token, in words; empty while there is one, or may be. */
export const trouble = signal("");

let origin: string;
let ask: () => Promise<string>;
let renew: () => void;
let known: EmbedSession | null = null;
let running: Promise<boolean> | null = null;
let timer = 0;

/** `from` is the host page's origin; `askHost` asks it for a token; `onEnding` is called before that ends. Called once. */
export function begin(from: string, askHost: () => Promise<string>, onEnding: () => void): void {
  origin = from;
  ask = askHost;
  renew = onEnding;
}

/** Whether there is a token that the server takes. Calls that come meanwhile wait for the same answer. */
export function identify(): Promise<boolean> {
  running ??= obtain().finally(() => (running = null));
  return running;
}

async function obtain(): Promise<boolean> {
  clearTimeout(timer);
  try {
    const { token, session } = look.value!.anonymous ? await visitor() : await named();
    // A token names the page that it is for: one that was taken elsewhere is of no use here.
    if (session.origin !== origin) throw new Failed(text.embed.wrongPage, 403, "wrong_origin");
    if (known && known.owner !== session.owner) {
      location.reload(); // somebody else has signed in
      return false;
    }
    known = session;
    use(token);
    connection.refresh(token);
    timer = window.setTimeout(renew, 1000 * Math.max(SHORTEST_S, session.expires_in_s - RENEW_BEFORE_S));
    trouble.value = "";
    return true;
  } catch (error) {
    trouble.value = (error instanceof Failed && error.message) || text.embed.signedOut;
    return false;
  }
}

interface Identity {
  token: string;
  session: EmbedSession;
}

async function named(): Promise<Identity> {
  const token = await ask();
  return { token, session: await api.embedSession(token) };
}

/** Comes back as the same one as long as the token of last time lasts. */
async function visitor(): Promise<Identity> {
  const earlier = kept();
  if (earlier) {
    try {
      const session = await api.embedSession(earlier);
      if (session.anonymous && session.expires_in_s > 2 * RENEW_BEFORE_S) return { token: earlier, session };
    } catch (error) {
      if (!(error instanceof Failed) || error.status !== 401) throw error;
    }
  }
  const session = await api.createVisitor(origin);
  keep(session.token);
  return { token: session.token, session };
}

// The frame's own storage, which browsers keep apart for each site around it. Where they forbid it, each page has a
// new visitor.

function kept(): string | null {
  try {
    return localStorage.getItem(KEY + origin);
  } catch {
    return null;
  }
}

function keep(token: string): void {
  try {
    localStorage.setItem(KEY + origin, token);
  } catch {
    // forbidden, or full
  }
}
