// Text that is to become markup enters; markup that the page may show leaves (and only from here: Trusted Types).

import DOMPurify from "dompurify";
import hljs from "highlight.js/lib/core";
import bash from "highlight.js/lib/languages/bash";
import json from "highlight.js/lib/languages/json";
import python from "highlight.js/lib/languages/python";
import { Marked, type TokenizerAndRendererExtension } from "marked";

hljs.registerLanguage("python", python);
hljs.registerLanguage("bash", bash);
hljs.registerLanguage("json", json);

const LANGUAGES: Record<string, string> = { py: "python", python3: "python", ipython: "python", sh: "bash", shell: "bash" };
/** Colouring takes time in proportion; beyond this the page would stutter. */
const LONGEST_COLOURED = 30_000;

interface Policy {
  createHTML(html: string): string;
}

const factory = (globalThis as { trustedTypes?: { createPolicy(name: string, rules: Policy): Policy } }).trustedTypes;
const policy = factory?.createPolicy("codeact", { createHTML: (html) => html });
const trust = (html: string): string => policy?.createHTML(html) ?? html;

// What a message may not bring along: styles and forms reach out of their place, media fetches by itself.
const PROSE = {
  FORBID_TAGS: ["style", "form", "input", "button", "textarea", "select", "video", "audio", "svg", "iframe"],
  FORBID_ATTR: ["style", "class", "id", "name"],
  ADD_ATTR: ["target", "data-tex", "data-display"],
  ALLOW_DATA_ATTR: false,
};
const TABLE = {
  ALLOWED_TAGS: ["table", "thead", "tbody", "tfoot", "tr", "th", "td", "caption", "p"],
  ALLOWED_ATTR: ["rowspan", "colspan"],
};

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName !== "A") return;
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noopener noreferrer");
});

const math = (name: string, level: "block" | "inline", pattern: RegExp, mark: RegExp): TokenizerAndRendererExtension => ({
  name,
  level,
  start: (source) => mark.exec(source)?.index,
  tokenizer(source) {
    const found = pattern.exec(source);
    return found ? { type: name, raw: found[0], tex: (found[1] ?? found[2] ?? "").trim() } : undefined;
  },
  renderer: (token) => {
    const tag = level === "block" ? "p" : "span";
    return `<${tag} data-tex="${escape(String(token["tex"]))}" data-display="${level}">${escape(token.raw)}</${tag}>`;
  },
});

/** One dollar opens math only where no digit follows its end, so that prices stay prices. */
export const marked = new Marked({ gfm: true, breaks: false }).use({
  extensions: [
    math("displayMath", "block", /^(?:\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\])(?:\n|$)/, /\$\$|\\\[/),
    math("inlineMath", "inline", /^(?:\$(?!\s|\$)([^$\n]*[^$\s\\])\$(?!\d)|\\\((.+?)\\\))/, /\$|\\\(/),
  ],
});

/** The model's Markdown as markup without anything that runs, styles or fetches. */
export function prose(markdown: string): string {
  return trust(DOMPurify.sanitize(marked.parse(markdown, { async: false }), PROSE));
}

/** The rows of a table that code displayed, if its HTML is nothing but a plain table (as pandas makes them). */
export function table(html: string): string | null {
  if (!/<table[^>]*class="[^"]*\bdataframe\b/.test(html) || /<(style\s+type|style>\s*#|script|img)/i.test(html)) return null;
  // Parsing them already would make the browser report what the page's policy refuses.
  const unstyled = html.replace(/<style[\s\S]*?<\/style>|\sstyle="[^"]*"/gi, "");
  return trust(DOMPurify.sanitize(unstyled, TABLE));
}

export function coloured(code: string, language: string): string {
  const name = LANGUAGES[language] ?? language;
  const known = hljs.getLanguage(name) && code.length <= LONGEST_COLOURED;
  return trust(known ? hljs.highlight(code, { language: name, ignoreIllegals: true }).value : escape(code));
}

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
