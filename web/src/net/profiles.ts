// Requests about profiles: what somebody has saved to ask with, and what others share by link.

import { call } from "./api";

export interface ProfileServer {
  type: "mcp";
  server_label: string;
  server_url: string;
  require_approval?: "never";
}

export interface Profile {
  id: string;
  name: string;
  description: string;
  instructions: string;
  model: string;
  effort: string;
  tools: ProfileServer[];
  files: { id: string; filename: string; bytes: number }[];
  /** Its link: whether it gives the contents of the files, too. */
  share: { token: string; files: boolean } | null;
  /** The fields of a request that asks with it. */
  request: Record<string, unknown>;
}

/** What is sent to save one. */
export type ProfileFields = Pick<Profile, "name" | "description" | "instructions" | "model" | "effort" | "tools"> & { file_ids: string[] };

/** What somebody with the link reads. */
export interface SharedProfile extends Pick<Profile, "name" | "description" | "instructions" | "model" | "effort"> {
  tools: Pick<ProfileServer, "server_label" | "server_url">[];
  files: { filename: string; bytes: number }[];
  gives_files: boolean;
}

const place = (id: string) => `v1/profiles/${encodeURIComponent(id)}`;
const shared = (token: string) => `v1/shared-profiles/${encodeURIComponent(token)}`;

export const requests = {
  list: () => call<{ data: Profile[] }>("GET", "v1/profiles?limit=200"),
  create: (fields: ProfileFields) => call<Profile>("POST", "v1/profiles", fields),
  change: (id: string, fields: ProfileFields) => call<Profile>("PATCH", place(id), fields),
  remove: (id: string) => call<null>("DELETE", place(id)),
  share: (id: string, files: boolean) => call<Profile>("POST", `${place(id)}/share`, { files }),
  revoke: (id: string) => call<Profile>("DELETE", `${place(id)}/share`),
  shared: (token: string) => call<SharedProfile>("GET", shared(token)),
  copy: (token: string) => call<Profile>("POST", `${shared(token)}/copy`),
};
