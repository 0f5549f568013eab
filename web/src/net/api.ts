// HTTP requests of the page enter the server, its answers leave as values or as a `Failed` in the server's words.

import type { Input, Response } from "../wire";
import { inUse, renewed } from "./access";

const RETRY_MS = 300;
const MOST_FILES = 1_000;

export class Failed extends globalThis.Error {
  readonly status: number;
  readonly code: string | null;

  constructor(message: string, status: number, code: string | null = null) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export interface Status {
  version: string;
  model: string | null;
  /** To choose from; the first is the default. */
  models: string[];
  sandbox: { backend: string; isolated: boolean; summary: string; missing: string[] } | null;
  store: string | null;
  /** What is not there yet, and how far it has come, or what keeps it. */
  starting: Record<string, string>;
  examples: string[];
  /** Whether this user may decide about what waits for approval. */
  approves: boolean;
  /** Whether this user may have answers verified. */
  verifies: boolean;
  /** The largest file that can be attached. */
  upload_bytes: number;
  /** How long a deleted conversation stays in the bin. */
  deleted_retention_days: number;
}

export interface Summary {
  title: string | null;
  updated_at: number;
  pinned: boolean;
  folder: string | null;
  settings: Partial<ConversationSettings>;
  status: string | null;
  responses: number;
  last_response_id: string | null;
}

/** What is asked with in one conversation; empty: what the user's own settings say. */
export interface ConversationSettings {
  model: string;
  instructions: string;
  effort: string;
  /** The id of one of the user's profiles. */
  profile: string;
}

export interface Edit {
  title?: string;
  pinned?: boolean;
  folder?: string;
  settings?: Partial<ConversationSettings>;
}

export interface ConversationObject {
  id: string;
  created_at: number;
  "codeact:summary": Summary;
  /** When it was deleted, in seconds, in the list of the bin. */
  "codeact:deleted_at"?: number;
  /** Where the words of the query stand. */
  "codeact:excerpt"?: string;
}

export interface Page {
  data: ConversationObject[];
  has_more: boolean;
  "codeact:next": string | null;
}

export interface Feedback {
  response_id: string;
  rating: "up" | "down" | null;
  comment: string | null;
}

/** Whether an answer's code gave the same outputs when it was run again. */
export interface Certificate {
  result: "equal" | "differs";
  verified_at: number;
  blocks: number;
  outputs: number;
  differences: { block: number; output?: number | null; kind: string; expected?: string; found?: string; earlier?: boolean }[];
}

export interface Share {
  token: string;
  created_at: number;
}

export interface Shared {
  title: string | null;
  shared_at: number;
  responses: (Pick<Response, "id" | "status" | "error" | "output"> & { input: Input[]; certificate?: Certificate | null })[];
}

export interface SandboxFile {
  id: string;
  path: string;
  bytes: number;
}

interface FilePage {
  data: SandboxFile[];
  has_more: boolean;
  last_id: string | null;
}

/** A variable of the kernel's, in its words; `table` has the first rows of a data frame, its labels first. */
export interface Variable {
  name: string;
  type: string;
  shape: string;
  detail: string;
  head: string;
  table: string[][];
}

export interface Held {
  data: Variable[];
  functions: { name: string; kind: string; source: string }[];
  omitted: number;
}

export interface StoredTurn {
  response: Response;
  input: Input[];
}

export interface EmbedSession {
  owner: string;
  origin: string;
  expires_in_s: number;
  anonymous: boolean;
}

/** Where a file of a sandbox is downloaded from. */
export const fileAddress = (containerId: string, fileId: string): string =>
  `/v1/containers/${encodeURIComponent(containerId)}/files/${encodeURIComponent(fileId)}/content`;

/** Where all files of a sandbox are downloaded from. */
export const archiveAddress = (containerId: string): string => `/${container(containerId)}/archive`;

/** Where the server is: the page may be served under a path of a proxy. */
export const root = document.querySelector("base")?.href ?? `${location.origin}/`;

export const address = (path: string): string => new URL(path, root).href;

export async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  return parsed(await (await send(method, path, body)).text()) as T;
}

/** A call with a token that nothing else uses yet, or without any. */
async function callAs<T>(token: string, method: string, path: string, body?: unknown): Promise<T> {
  return parsed(await (await taken(await attempt(method, path, body, token))).text()) as T;
}

/** The bytes of what the server keeps. */
export async function content(path: string): Promise<Blob> {
  return (await send("GET", path)).blob();
}

async function send(method: string, path: string, body?: unknown): Promise<globalThis.Response> {
  let reply = await attempt(method, path, body);
  if (reply.status === 401 && (await renewed())) reply = await attempt(method, path, body);
  return taken(reply);
}

/** Raises `Failed` in the server's words. */
async function taken(reply: globalThis.Response): Promise<globalThis.Response> {
  if (reply.ok) return reply;
  const value = parsed(await reply.text()) as { error?: { message?: string; code?: string } } | null;
  throw new Failed(value?.error?.message ?? reply.statusText, reply.status, value?.error?.code ?? null);
}

/**
 * One request. A GET that found no server is sent once more, as a browser drops all requests when the machine changes
 * its network. Where a token says who asks, no cookie is sent.
 */
async function attempt(method: string, path: string, body: unknown, token = inUse()): Promise<globalThis.Response> {
  const headers = {
    ...(token && { Authorization: `Bearer ${token}` }),
    ...(body !== undefined && !(body instanceof FormData) && { "Content-Type": "application/json" }),
  };
  const credentials = token ? "omit" : "same-origin";
  const init: RequestInit = { method, headers, credentials, body: body === undefined ? null : body instanceof FormData ? body : JSON.stringify(body) };
  try {
    return await fetch(address(path), init).catch((error: unknown) => {
      if (method !== "GET") throw error;
      return new Promise((go) => setTimeout(go, RETRY_MS)).then(() => fetch(address(path), init));
    });
  } catch {
    throw new Failed("", 0);
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const container = (id: string) => `v1/containers/${encodeURIComponent(id)}`;
const conversation = (id: string) => `v1/conversations/${encodeURIComponent(id)}`;

export const api = {
  status: () => call<Status>("GET", "v1/status"),
  signIn: (key: string) => call<null>("POST", "v1/session", { api_key: key }),
  signOut: () => call<null>("DELETE", "v1/session"),
  /** Of what a query finds, each conversation has an excerpt. */
  conversations: (query: string, after: string | null) => {
    const asked = new URLSearchParams({ limit: "40", ...(query && { query, excerpts: "true" }), ...(after && { after }) });
    return call<Page>("GET", `v1/conversations?${asked}`);
  },
  newest: () => call<Page>("GET", "v1/conversations?limit=1"),
  createConversation: () => call<ConversationObject>("POST", "v1/conversations", {}),
  conversation: (id: string) => call<ConversationObject>("GET", conversation(id)),
  turns: (id: string) => call<{ data: StoredTurn[] }>("GET", `${conversation(id)}/responses`),
  edit: (id: string, change: Edit) =>
    call<ConversationObject>("PATCH", conversation(id), change),
  remove: (id: string) => call<null>("DELETE", conversation(id)),
  bin: (after: string | null) => call<Page>("GET", `v1/bin?limit=40${after ? `&after=${after}` : ""}`),
  removeForGood: (id: string) => call<null>("DELETE", `v1/bin/${encodeURIComponent(id)}`),
  restore: (id: string) => call<ConversationObject>("POST", `${conversation(id)}/restore`),
  feedback: (id: string) => call<{ data: Feedback[] }>("GET", `${conversation(id)}/feedback`),
  rate: (responseId: string, rating: Feedback["rating"], comment: string | null) =>
    call<Feedback>("POST", `v1/responses/${encodeURIComponent(responseId)}/feedback`, { rating, comment }),
  verify: (responseId: string) =>
    call<Certificate>("POST", `v1/responses/${encodeURIComponent(responseId)}/codeact:verify`),
  share: (id: string, responseId: string) =>
    call<Share>("POST", `${conversation(id)}/share`, { response_id: responseId }),
  shareOf: (id: string) => call<Share>("GET", `${conversation(id)}/share`),
  revoke: (id: string) => call<null>("DELETE", `${conversation(id)}/share`),
  openShare: (token: string) => call<ConversationObject>("POST", "v1/conversations/open", { share: token }),
  shared: (token: string) => call<Shared>("GET", `v1/shares/${encodeURIComponent(token)}`),
  /** The files of a sandbox, the latest thousand. */
  files: async (containerId: string): Promise<SandboxFile[]> => {
    const files: SandboxFile[] = [];
    for (let after = ""; files.length < MOST_FILES; ) {
      const page = await call<FilePage>("GET", `${container(containerId)}/files?limit=100${after && `&after=${after}`}`);
      files.push(...page.data);
      if (!page.has_more || !page.last_id) break;
      after = page.last_id;
    }
    return files;
  },
  addFile: async (containerId: string, file: File): Promise<void> => {
    const form = new FormData();
    form.append("file", file, file.name);
    await taken(await attempt("POST", `${container(containerId)}/files`, form));
  },
  variables: (containerId: string) => call<Held>("GET", `${container(containerId)}/variables`),
  beginUpload: ({ name, size, type }: File, lasts: { anchor: "created_at"; seconds: number }) =>
    call<{ id: string }>("POST", "v1/uploads", {
      filename: name,
      bytes: size,
      mime_type: type || "application/octet-stream",
      purpose: "user_data",
      expires_after: lasts,
    }),
  completeUpload: (id: string, parts: readonly string[]) =>
    call<{ file: { id: string } }>("POST", `v1/uploads/${id}/complete`, { part_ids: parts }),
  cancelUpload: (id: string) => call<null>("POST", `v1/uploads/${id}/cancel`),
  removeFile: (id: string) => call<null>("DELETE", `v1/files/${encodeURIComponent(id)}`),
  embedSession: (token: string) => callAs<EmbedSession>(token, "GET", "v1/embed/session"),
  createVisitor: (origin: string) => callAs<EmbedSession & { token: string }>("", "POST", "v1/embed/sessions", { origin }),
  response: (id: string) => call<Response>("GET", `v1/responses/${encodeURIComponent(id)}?include=codeact:events`),
};
