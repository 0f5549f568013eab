// What code displayed (a MIME bundle) enters, the richest form that can be shown safely leaves.

export type Form =
  | { readonly kind: "picture"; readonly source: string; readonly words: string; readonly extension: string }
  | { readonly kind: "html"; readonly html: string; readonly words: string }
  | { readonly kind: "markdown"; readonly markdown: string }
  | { readonly kind: "text"; readonly text: string };

const SVG = "image/svg+xml";
const PICTURES = { [SVG]: "svg", "image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp" };

/** `metadata` may say where a value is kept that is too large for its place. */
export function form(data: Record<string, unknown>, metadata: Record<string, unknown>): Form {
  const words = joined(data["text/plain"]);
  for (const [type, extension] of Object.entries(PICTURES)) {
    const source = kept(metadata, type) ?? inline(type, joined(data[type]));
    if (source) return { kind: "picture", source, words: words.startsWith("<") ? "" : words, extension };
  }
  const html = joined(data["text/html"]);
  if (html) return { kind: "html", html, words };
  const markdown = joined(data["text/markdown"]);
  if (markdown) return { kind: "markdown", markdown };
  const latex = joined(data["text/latex"]);
  if (latex) return { kind: "markdown", markdown: `$$${latex.replace(/^\$+|\$+$/g, "")}$$` };
  if (words) return { kind: "text", text: words };
  if ("application/json" in data) return { kind: "text", text: JSON.stringify(data["application/json"], null, 2) };
  return { kind: "text", text: `[${Object.keys(data).join(", ")}]` };
}

/** Notebooks keep long texts as lists of lines, and code may display anything. */
const joined = (value: unknown): string => (Array.isArray(value) ? value.join("") : typeof value === "string" ? value : "");

/** Code can write metadata too: only addresses of this server's are taken. */
function kept(metadata: Record<string, unknown>, type: string): string | null {
  const source = (metadata["codeact:url"] as Record<string, unknown> | undefined)?.[type];
  return typeof source === "string" && /^\/v1\/(blobs|shares)\/[\w/-]+$/.test(source) ? source : null;
}

function inline(type: string, content: string): string | null {
  if (!content) return null;
  if (type === SVG) return `data:${type};charset=utf-8,${encodeURIComponent(content)}`;
  return `data:${type};base64,${content.replace(/\s/g, "")}`;
}
