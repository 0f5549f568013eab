// Requests about who is signed in, their sessions and keys.

import { call } from "./api";

export interface SessionInfo {
  owner: string | null;
  name: string | null;
  email: string | null;
  /** Null for a key. */
  role: "user" | "operator" | "admin" | null;
  /** Null where a proxy has signed the person in. */
  expires_at: number | null;
  /** How people sign in; nulls where they do not. */
  login: { name: string | null; url: string | null };
}

export interface ApiKey {
  id: string;
  name: string;
  /** Its beginning. */
  shown: string;
  created_at: number;
  expires_at: number | null;
  used_at: number | null;
  /** In the answer that made it alone. */
  secret?: string;
}

export interface SignedIn {
  id: string;
  address: string;
  browser: string;
  created_at: number;
  used_at: number | null;
  current: boolean;
}

export const accounts = {
  session: () => call<SessionInfo>("GET", "v1/session"),
  sessions: () => call<{ data: SignedIn[] }>("GET", "v1/sessions"),
  endSession: (id: string) => call<null>("DELETE", `v1/sessions/${encodeURIComponent(id)}`),
  keys: () => call<{ data: ApiKey[] }>("GET", "v1/keys"),
  createKey: (name: string, days: number | null) => call<ApiKey>("POST", "v1/keys", { name, days }),
  revokeKey: (id: string) => call<null>("DELETE", `v1/keys/${encodeURIComponent(id)}`),
};
