// What the user has set, kept in this browser; a request's options leave.

import { effect, signal } from "@preact/signals";
import { folds } from "./folding";
import type { ConversationSettings } from "./net/api";
import type { Profile } from "./net/profiles";
import { follow, type Theme } from "./theme";

export interface Options {
  theme: Theme;
  model: string;
  temperature: number | null;
  steps: number | null;
  instructions: string;
  sidebar: boolean;
  /** The steps of answers are folded. */
  folded: boolean;
  /** Notifications are wanted; null: the user has not been asked yet. */
  notify: boolean | null;
  /** A key was given, and a cookie stands for it. */
  signedIn: boolean;
}

const KEY = "codeact";
const DEFAULTS: Options = {
  theme: "system",
  model: "",
  temperature: null,
  steps: null,
  instructions: "",
  sidebar: true,
  folded: false,
  notify: null,
  signedIn: false,
};

export const options = signal<Options>(read());

export function set(change: Partial<Options>): void {
  options.value = { ...options.value, ...change };
}

/**
 * The options as a request's parameters; what is left out is the server's to choose. `own` are those of the
 * conversation, which count most, before those of its `profile`.
 */
export function parameters(
  models: readonly string[],
  own: Partial<ConversationSettings>,
  profile?: Profile,
): Record<string, unknown> {
  const { temperature, steps } = options.value;
  const model = own.model || profile?.model || options.value.model;
  const instructions = own.instructions?.trim() || profile?.instructions || options.value.instructions.trim();
  const { model: _, ...request } = profile?.request ?? {};
  return {
    ...request,
    ...(models.includes(model) && { model }),
    ...(temperature !== null && { temperature }),
    ...(steps !== null && { max_tool_calls: steps }),
    ...(instructions && { instructions }),
    ...(own.effort && { reasoning: { effort: own.effort } }),
  };
}

/** Keeps storage and the page's theme in step. Called once. */
export function apply(): void {
  effect(() => {
    try {
      localStorage.setItem(KEY, JSON.stringify(options.value));
    } catch {
      // Storage may be full or switched off; then the options last as long as the page.
    }
  });
  effect(() => void (folds.value = options.value.folded));
  follow(() => options.value.theme);
}

function read(): Options {
  try {
    return { ...DEFAULTS, ...(JSON.parse(localStorage.getItem(KEY) ?? "{}") as Partial<Options>) };
  } catch {
    return DEFAULTS;
  }
}
