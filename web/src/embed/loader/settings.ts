// A script's attributes and what `codeact.init` is given enter; checked settings leave, or an error that names the wrong one.

import type { Look } from "../protocol";

export interface Options extends Partial<Look> {
  /** An address of the host page's backend that answers a POST with `{"token": …}`. */
  tokenUrl?: string;
  /** In place of that address. */
  getToken?: () => string | Promise<string>;
  anonymous?: boolean;
  /** `bottom-right`, `bottom-left`, or the place in the page that the panel fills: an element or its selector. */
  position?: string | Element;
  /** `none`: nothing is shown; the page talks to the conversation by `send` and `on`. */
  ui?: "launcher" | "none";
}

export interface Settings {
  look: Look;
  getToken: () => string | Promise<string>;
  anonymous: boolean;
  position: string | Element;
  ui: "launcher" | "none";
}

const TOKEN_TIMEOUT_MS = 15_000;

export function fromAttributes({ starters, anonymous, ...rest }: DOMStringMap): Options {
  return {
    ...rest,
    ...(starters !== undefined && { starters: json(starters) }),
    ...(anonymous !== undefined && { anonymous: anonymous !== "false" }),
  } as Options;
}

export function settingsOf(options: Options): Settings {
  for (const [name, value] of Object.entries(options)) {
    const isRight = KINDS[name];
    if (!isRight) throw new Error(`codeact: there is no option '${name}'.`);
    if (!isRight(value)) throw new Error(`codeact: '${name}' cannot be ${JSON.stringify(value)}.`);
  }
  const { tokenUrl, getToken, anonymous = false, position = "bottom-right", ui = "launcher", ...look } = options;
  if (!tokenUrl && !getToken && !anonymous) {
    throw new Error("codeact: tokenUrl, getToken or anonymous must say who the visitor is (data-token-url, …).");
  }
  return {
    look: { title: "Assistant", greeting: "How can I help?", starters: [], theme: "system", accent: "", font: "", steps: "folded", ...look },
    getToken: getToken ?? (() => fetched(tokenUrl!)),
    anonymous,
    position,
    ui,
  };
}

type Check = (value: unknown) => boolean;
const isText: Check = (value) => typeof value === "string";
const isFunction: Check = (value) => typeof value === "function";
const oneOf = (...known: unknown[]): Check => (value) => known.includes(value);

const KINDS: Record<string, Check> = {
  title: isText,
  greeting: isText,
  starters: (value) => Array.isArray(value) && value.every(isText),
  theme: oneOf("system", "light", "dark"),
  accent: (value) => CSS.supports("color", value as string),
  font: isText,
  steps: oneOf("folded", "shown"),
  tokenUrl: isText,
  getToken: isFunction,
  anonymous: oneOf(true, false),
  position: (value) => isText(value) || value instanceof Element,
  ui: oneOf("launcher", "none"),
};

async function fetched(url: string): Promise<string> {
  const reply = await fetch(url, { method: "POST", credentials: "include", signal: AbortSignal.timeout(TOKEN_TIMEOUT_MS) });
  if (!reply.ok) throw new Error(`${url} answered ${reply.status}.`);
  return ((await reply.json()) as { token: string }).token;
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
