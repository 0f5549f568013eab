// What code displayed (a MIME bundle) enters, the richest form that can be shown safely leaves.

export type Form =
  | { readonly kind: "picture"; readonly source: string; readonly words: string; readonly extension: string }
  | { readonly kind: "html"; readonly html: string; readonly words: string }
  | { readonly kind: "chart"; readonly library: "plotly" | "vega"; readonly spec: unknown }
  | { readonly kind: "page"; readonly html: string }
  | { readonly kind: "nothing" }
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
  const drawn = chart(data);
  if (drawn) return drawn;
  const html = joined(data["text/html"]);
  if (BOKEH_NOTHING.test(html)) return { kind: "nothing" };
  if (html && isChartPage(html)) return { kind: "page", html };
  if (html) return { kind: "html", html, words };
  const markdown = joined(data["text/markdown"]);
  if (markdown) return { kind: "markdown", markdown };
  const latex = joined(data["text/latex"]);
  if (latex) return { kind: "markdown", markdown: `$$${latex.replace(/^\$+|\$+$/g, "")}$$` };
  if (words) return { kind: "text", text: words };
  if ("application/json" in data) return { kind: "text", text: JSON.stringify(data["application/json"], null, 2) };
  return { kind: "text", text: `[${Object.keys(data).join(", ")}]` };
}

const CHARTS: [RegExp, "plotly" | "vega"][] = [
  [/^application\/vnd\.plotly\.v\d+\+json$/, "plotly"],
  [/^application\/vnd\.vega(?:lite)?\.v\d+(?:\.json|\+json)$/, "vega"],
];
const BOKEH_EXEC = "application/vnd.bokehjs_exec.v0+json";
const BOKEH_LOAD = "application/vnd.bokehjs_load.v0+json";

/** Where the script draws: `"roots":{"p1008":"c3c4…"}`. The element comes in a display of its own, before the script. */
const BOKEH_PLACE = /"roots":\{"([\w-]{1,80})":"([\w-]{1,80})"/g;
const BOKEH_NOTHING = /^\s*<div id="[\w-]{1,80}" data-root-id="[\w-]{1,80}"[^<>]{0,200}><\/div>\s*$|\bbk-notebook-logo\b/;

/** A chart as its library describes it; of what Bokeh displays, only the script shows something. */
function chart(data: Record<string, unknown>): Form | null {
  for (const [type, spec] of Object.entries(data)) {
    const library = CHARTS.find(([pattern]) => pattern.test(type))?.[1];
    if (library && typeof spec === "object" && spec !== null) return { kind: "chart", library, spec };
  }
  if (Object.hasOwn(data, BOKEH_EXEC)) {
    const code = joined(data["application/javascript"]);
    const places = joined(data["text/html"]) || [...code.matchAll(BOKEH_PLACE)].map(([, root, id]) => `<div id="${id}" data-root-id="${root}"></div>`).join("");
    const script = code.replace(/<\/script/gi, "<\\/script");
    const libraries = ["bokeh", "bokeh-widgets", "bokeh-tables"].map((name) => `<script src="${name}.min.js"></script>`).join("");
    return { kind: "page", html: `${libraries}${places}<script>${script}</script>` };
  }
  return Object.hasOwn(data, BOKEH_LOAD) ? { kind: "nothing" } : null;
}

/** HTML that is nothing without the scripts of a chart library. */
const isChartPage = (html: string): boolean => /<script/i.test(html) && /\b(?:plotly|vega-?embed|bokeh)\b/i.test(html);

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
