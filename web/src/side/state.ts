// What stands beside the chat: the files, the variables, or one thing that an answer made.

import { computed, effect, signal } from "@preact/signals";
import { current } from "../session";
import type { NamedFile } from "../view/written";
import type { Content } from "./content";

/** A file or an output, opened from an answer or from the list of files. */
export interface Artifact {
  readonly name: string;
  /** Oldest first. */
  readonly versions: readonly Version[];
  /** The key of the version that is shown first; without it the newest. */
  readonly chosen?: string;
  /** Those that a document may name: its pictures and links. */
  readonly files?: readonly NamedFile[];
}

export interface Version {
  readonly key: string;
  /** When it was made, in words. */
  readonly label: string;
  /** Where it is downloaded from; empty for an output, which is saved as the page has it. */
  readonly address: string;
  load(): Promise<Content>;
}

export type Tab = "files" | "variables" | "artifact";

export const tab = signal<Tab | null>(null);
export const artifact = signal<Artifact | null>(null);

/** The sandbox in which the conversation's code ran last. */
export const containerId = computed(() => {
  const turns = current.value.path.value;
  void turns.at(-1)?.version.value;
  return turns.findLast(({ answer }) => answer.containerId)?.answer.containerId ?? null;
});

/** Counts what code has done: another value means that files and variables may be others. */
export const activity = computed(() => {
  const last = current.value.path.value.at(-1);
  void last?.version.value;
  const done = last?.answer.parts.filter((part) => part?.kind === "cell" && part.state === "done").length ?? 0;
  return `${last?.key ?? ""} ${done} ${last?.ended ?? true}`;
});

export function toggle(which: Tab): void {
  tab.value = tab.value === which ? null : which;
}

export function openArtifact(opened: Artifact): void {
  artifact.value = opened;
  tab.value = "artifact";
}

/** Whether the page has a place beside the chat; the embed has none. */
export const hasSide = signal(false);

/** Another conversation has other things beside it. Called once. */
export function keepSide(): void {
  hasSide.value = true;
  let shown = current.value;
  effect(() => {
    if (current.value === shown) return;
    shown = current.value;
    artifact.value = null;
    if (tab.peek() === "artifact") tab.value = null;
  });
}
