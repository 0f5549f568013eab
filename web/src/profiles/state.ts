// The user's profiles, as the server keeps them, and the one that a link names.

import { signal } from "@preact/signals";
import { Failed } from "../net/api";
import { requests, type Profile } from "../net/profiles";

const RETRY_MS = 5_000;

/** In the order of their names; null until the server has told them. */
export const profiles = signal<readonly Profile[] | null>(null);
/** The token of the link with which the page was opened. */
export const linked = signal("");

export async function readProfiles(): Promise<void> {
  const { data } = await requests.list();
  profiles.value = data.sort((a, b) => a.name.localeCompare(b.name));
}

/** Reads them, again and again until the server has answered, unless it asks for a key. */
export async function keepTrying(): Promise<void> {
  try {
    await readProfiles();
  } catch (error) {
    if (!(error instanceof Failed && error.status === 401)) setTimeout(() => void keepTrying(), RETRY_MS);
  }
}

export const profile = (id: string | undefined): Profile | undefined => (id ? profiles.value?.find((one) => one.id === id) : undefined);
