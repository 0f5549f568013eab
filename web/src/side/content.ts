// What a file is to be shown as, by its name.

import { content } from "../net/api";
import { parseCsv } from "./csv";

export type Content =
  | { readonly kind: "page"; readonly html: string }
  | { readonly kind: "plotly" | "vega"; readonly spec: unknown }
  | { readonly kind: "pdf"; readonly bytes: ArrayBuffer }
  | { readonly kind: "picture"; readonly url: string }
  | { readonly kind: "markdown" | "text"; readonly text: string; readonly language: string }
  | { readonly kind: "table"; readonly rows: string[][]; readonly more: boolean }
  | { readonly kind: "none" };

const PICTURES: Record<string, string> = { png: "png", jpg: "jpeg", jpeg: "jpeg", gif: "gif", webp: "webp", svg: "svg+xml" };
const TEXTS = new Set("txt log py ipynb json jsonl yaml yml toml ini cfg xml css js ts sql sh r jl tex rst diff".split(" "));
const OTHERS = new Set(["html", "htm", "md", "csv", "tsv", "pdf"]);
const MOST_BYTES = 20_000_000;
const MOST_TEXT_BYTES = 1_000_000;

const extension = (name: string): string => (name.includes(".") ? name.split(".").at(-1)!.toLowerCase() : "");

/** Whether there is more to see of it than its name. */
export function canShow(name: string): boolean {
  const end = extension(name);
  return Object.hasOwn(PICTURES, end) || TEXTS.has(end) || OTHERS.has(end);
}

/** Reads a file of the server's. Raises `Failed`. */
export async function read(name: string, address: string): Promise<Content> {
  const end = extension(name);
  if (!canShow(name)) return { kind: "none" };
  const blob = await content(address);
  if (blob.size > MOST_BYTES) return { kind: "none" };
  if (Object.hasOwn(PICTURES, end)) return { kind: "picture", url: URL.createObjectURL(new Blob([blob], { type: `image/${PICTURES[end]}` })) };
  if (end === "pdf") return { kind: "pdf", bytes: await blob.arrayBuffer() };
  if (end === "html" || end === "htm") return { kind: "page", html: await blob.text() };
  const text = await blob.slice(0, MOST_TEXT_BYTES).text();
  if (end === "md") return { kind: "markdown", text, language: "markdown" };
  if (end === "csv" || end === "tsv") return { kind: "table", ...parseCsv(text, end === "tsv" ? "\t" : null) };
  return { kind: "text", text, language: end === "ipynb" ? "json" : end };
}
