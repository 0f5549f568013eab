// The state of the chat page besides the conversation, as signals, and the actions of the user.

import { computed, effect, signal, untracked } from "@preact/signals";
import type { Conversation } from "./conversation";
import { waitingAfter } from "./core/approval";
import { api, address, Failed, type ConversationObject, type ConversationSettings } from "./net/api";
import { options, parameters, set } from "./options";
import { forgetAll, turnOn } from "./remembered";
import { change, keepList, list, refresh } from "./list";
import { forgetSeen, keepMarks } from "./unread";
import { keepTitle, tell } from "./telling";
import { begin, connection, current, line, make, missing, status, warm } from "./session";
import { keepTrying, linked, profile, profiles } from "./profiles/state";
import { keepSide, tab } from "./side/state";
import { text } from "./text";
import type { Turn } from "./turn";
import type { Event } from "./wire";

const STATUS_RETRY_MS = 1000;
const MODELS_RETRY_MS = 5_000;
const UNDO_MS = 8000;

export const dialog = signal<"settings" | "shortcuts" | "share" | "bin" | "conversation" | "palette" | "folder" | "profiles" | "linked" | null>(null);
export const drawer = signal(false);

/** Shows the list: as a drawer on a phone; where there is room for two columns, in place of what is beside the chat. */
export function showList(): void {
  if (matchMedia("(max-width: 820px)").matches) drawer.value = true;
  else {
    if (matchMedia("(max-width: 1080px)").matches) tab.value = null;
    set({ sidebar: true });
  }
}

export function search(): void {
  showList();
  requestAnimationFrame(() => document.getElementById("search")?.focus()); // It cannot have the focus before it is drawn.
}

/** The conversation that is being put into a folder. */
export const filed = signal<ConversationObject | null>(null);
export const deleted = signal<ConversationObject | null>(null);

let shown: ConversationObject | null = null;

/** The entry of the conversation that is shown; the last known one while a search leaves it out. */
export const entry = computed(() => {
  const { id } = current.value;
  const found = list.value.find((one) => one.id === id);
  if (found) shown = found;
  return found ?? (shown?.id === id ? shown : null);
});

/** The settings of the conversation that is shown; those of a new one, until it has an id to keep them under. */
export const ownSettings = computed(() => {
  const kept = entry.value?.["codeact:summary"].settings;
  return kept && Object.keys(kept).length ? kept : (unkept.value.get(current.value) ?? kept ?? {});
});
const unkept = signal<ReadonlyMap<Conversation, Partial<ConversationSettings>>>(new Map());

/** Changes the settings of the conversation that is shown. */
export function setOwn(settings: Partial<ConversationSettings>): void {
  const conversation = current.value;
  const next = { ...ownSettings.value, ...settings };
  unkept.value = new Map([...unkept.value, [conversation, next]]);
  if (conversation.id && conversation.turns.length) void change(conversation.id, { settings: next });
}

/** For this conversation, and for those that begin from now on. */
export function chooseModel(name: string): void {
  set({ model: name });
  setOwn({ model: name });
}

/** A new conversation has its id from now on. */
function keepOwn(conversation: Conversation): void {
  const settings = unkept.peek().get(conversation);
  if (settings && conversation.id) void change(conversation.id, { settings });
}

/** The model that answers: the chosen one or the profile's, as long as the server has it, else the server's default. */
export const model = computed(() => {
  const { models = [] } = status.value ?? {};
  const { model: own, profile: id } = ownSettings.value;
  const chosen = own || profile(id)?.model || options.value.model;
  return models.includes(chosen) ? chosen : (models[0] ?? null);
});

/** The new conversation, until something is asked in it. */
let blank: Conversation | null = null;
/** Conversations that go on answering while another one is shown. */
const live = new Map<string, Conversation>();

/** Tells the other tabs of this browser which conversation has a new question or answer. */
const tabs = new BroadcastChannel("codeact");

export function start(): void {
  turnOn();
  const options = () => parameters(status.value?.models ?? [], ownSettings.value, profile(ownSettings.value.profile));
  const settled = () => profiles.value !== null || !ownSettings.value.profile;
  begin({ parameters: options, settled, asked, ended, took });
  blank = current.value;
  addEventListener("popstate", () => void route());
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    void refresh();
    void sync(current.value);
  });
  tabs.onmessage = ({ data }) => void (data === current.value.id && sync(current.value));
  keepMarks();
  keepTitle(() => entry.value?.["codeact:summary"].title ?? "", open);
  keepList();
  keepSide();
  effect(() => {
    if (line.value !== "open") return;
    untracked(() => {
      void showStatus();
      void keepTrying();
      warm();
      if (missing.value) void route();
    });
  });
  connection.open();
  void route();
}

// ---- the conversation that is shown -----------------------------------------------------------------

export function fresh(): void {
  open(null);
}

export function open(id: string | null): void {
  drawer.value = false;
  if (id ? id === current.value.id : current.value === blank) return;
  history.pushState(null, "", id ? address(`c/${id}`) : address(""));
  void route();
}

function asked(conversation: Conversation, sent: Promise<void>): void {
  if (conversation === blank) blank = null;
  void sent.then(() => {
    if (!conversation.id) return;
    live.set(conversation.id, conversation);
    keepOwn(conversation);
    if (conversation === current.value) history.replaceState(null, "", address(`c/${conversation.id}`));
    void refresh();
  });
}

/** From here on it is in the list, as one that answers. */
function took({ id }: Conversation, event: Event): void {
  if (event.type !== "response.created") return;
  tabs.postMessage(id);
  void refresh();
}

async function sync(conversation: Conversation): Promise<void> {
  await conversation.sync().catch(() => undefined); // The next question looks again.
  if (conversation.id && conversation.running.value) live.set(conversation.id, conversation);
}

function ended(conversation: Conversation, turn: Turn): void {
  if (conversation.id) {
    live.delete(conversation.id);
    const title = turn.failure ? text.embed.failed : isWaiting(conversation) ? text.approval.waits : text.notify.title;
    tell(conversation.id, title, turn.failure || turn.words);
  }
  tabs.postMessage(conversation.id);
  void refresh();
}

const isWaiting = ({ path }: Conversation): boolean => waitingAfter(path.value.map(({ answer }) => answer)).length > 0;

async function route(): Promise<void> {
  linked.value = /\/profile\/([\w-]+)$/.exec(location.pathname)?.[1] ?? "";
  if (linked.value) dialog.value = "linked";
  const id = /\/c\/(conv_[\w-]+)$/.exec(location.pathname)?.[1] ?? null;
  missing.value = "";
  const known = id ? live.get(id) : (blank ??= make(null));
  const conversation = known ?? make(id);
  current.value = conversation;
  if (!id) warm();
  if (!id || known) return;
  try {
    await conversation.load();
    if (conversation.running.value) live.set(id, conversation);
  } catch (error) {
    if (conversation !== current.value) return;
    if (error instanceof Failed && error.status === 401) line.value = "key";
    else missing.value = error instanceof Failed && error.status === 404 ? text.line.missing : text.line.unanswered;
  }
}

// ---- the server ---------------------------------------------------------------------------------------

let again = 0;

async function showStatus(): Promise<void> {
  clearTimeout(again);
  try {
    status.value = await api.status();
  } catch (error) {
    if (error instanceof Failed && error.status === 401) line.value = "key";
    return;
  }
  const { models, starting } = status.value;
  if (Object.keys(starting).length) again = window.setTimeout(() => void showStatus(), STATUS_RETRY_MS);
  // While the demo serves, the server goes on looking for model servers.
  else if (models.join() === "demo") again = window.setTimeout(() => void showStatus(), MODELS_RETRY_MS);
}

/** Raises `Failed` where the server does not know the key. */
export async function signIn(key: string): Promise<void> {
  await api.signIn(key);
  set({ signedIn: true });
  line.value = "connecting";
  connection.open();
  void refresh();
  void route();
}

export async function signOut(): Promise<void> {
  await api.signOut();
  forgetAll();
  forgetSeen();
  set({ signedIn: false });
  location.assign(address(""));
}

// ---- deleting -----------------------------------------------------------------------------------------

let undoing = 0;

export async function remove(one: ConversationObject): Promise<void> {
  list.value = list.value.filter(({ id }) => id !== one.id);
  if (current.value.id === one.id) fresh();
  await api.remove(one.id);
  deleted.value = one;
  clearTimeout(undoing);
  undoing = window.setTimeout(() => (deleted.value = null), UNDO_MS);
}

export async function undo(): Promise<void> {
  const one = deleted.value;
  deleted.value = null;
  if (!one) return;
  await api.restore(one.id);
  await refresh();
  open(one.id);
}
