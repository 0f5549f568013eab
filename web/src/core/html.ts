// Text that is to become markup enters; markup that the page may show leaves (and only from here: Trusted Types).

import DOMPurify from "dompurify";
import { Marked, type TokenizerAndRendererExtension } from "marked";
import { text } from "../text";
import { grammar } from "./languages";

/** Drawing takes time in proportion; beyond this the page would stutter. */
const LONGEST_COLOURED = 30_000;
const LONG_CELL = 24;
const LONGEST_PROSE = 40_000;
const LONGEST_TABLE = 500_000;
const LONGEST_TAG = 1_000;

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
  ADD_ATTR: ["target", "data-tex", "data-display", "data-file", "data-picture", "data-task", "data-long"],
  ALLOW_DATA_ATTR: false,
};
const TABLE = {
  ALLOWED_TAGS: ["table", "thead", "tbody", "tfoot", "tr", "th", "td", "caption", "p"],
  ALLOWED_ATTR: ["rowspan", "colspan"],
};

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  const source = node.tagName === "IMG" ? (node.getAttribute("src") ?? "") : "";
  if (/^\s*(?:https?:|[\\/]{2})/i.test(source)) {
    node.replaceWith(linkTo(source, node.getAttribute("alt") || source));
    return;
  }
  if (node.tagName !== "A" || node.hasAttribute("data-file")) return;
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noopener noreferrer");
});

/** The page fetches nothing from elsewhere, so such a picture is a link that says what it shows. */
function linkTo(source: string, words: string): HTMLAnchorElement {
  const link = document.createElement("a");
  link.setAttribute("href", source);
  link.target = "_blank";
  link.rel = "noopener noreferrer";
  link.textContent = words;
  return link;
}

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

/** The name of the sandbox's file that an address means: a relative one, or `sandbox:/…` as models write it. */
export function fileOf(address: string): string | null {
  const path = /^sandbox:/i.test(address) ? address.slice("sandbox:".length) : address;
  if (path === address && (/^[a-z][a-z\d+.-]*:/i.test(path) || /^(?:\/|#|\?)/.test(path))) {
    return /^\/(?:workspace|mnt\/data)\//.test(path) ? decoded(path.split("/").at(-1)!) : null;
  }
  return decoded(path.split("/").at(-1)!) || null;
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

/**
 * One dollar opens math only where neither a letter nor a digit follows its end, and where no code span begins before
 * it: prices and shell variables are no formulas.
 */
export const marked = new Marked({ gfm: true, breaks: false }).use({
  renderer: {
    // `linkFiles` gives them addresses and pictures, once it is known which files the code wrote.
    link({ href, tokens }) {
      const file = fileOf(href);
      return file === null ? false : `<a data-file="${escape(file)}">${this.parser.parseInline(tokens)}</a>`;
    },
    image({ href, text }) {
      const file = fileOf(href);
      return file === null ? false : `<span data-file="${escape(file)}" data-picture>${escape(text)}</span>`;
    },
    // With a direction of its own, code does not decide in which direction the text around it is written.
    codespan: ({ text }) => `<code dir="ltr">${escape(text)}</code>`,
    checkbox: ({ checked }) =>
      `<span data-task="${checked ? "done" : "open"}" role="img" aria-label="${escape(checked ? text.turn.done : text.turn.notDone)}"></span> `,
    tablecell({ header, align, tokens, text }) {
      const tag = header ? "th" : "td";
      const attributes = `${align ? ` align="${align}"` : ""}${text.length > LONG_CELL ? " data-long" : ""}`;
      return `<${tag}${attributes}>${this.parser.parseInline(tokens)}</${tag}>\n`;
    },
  },
  extensions: [
    math("displayMath", "block", /^(?:\$\$([\s\S]{1,2000}?)\$\$|\\\[([\s\S]{1,2000}?)\\\])(?:\n|$)/, /\$\$|\\\[/),
    math("inlineMath", "inline", /^(?:\$(?!\s|\$)([^$\n`]*[^$\s\\`])\$(?![\p{L}\d])|\\\(([^\n`]{1,1000}?)\\\))/u, /\$|\\\(/),
  ],
});

/** Marks whose end marked looks for, each for itself: so many in one paragraph are no prose, and take the square of them. */
const MARKS = /[*_[$~<]|\\[(]/g;
const MOST_MARKS = 500;
/** Where a paragraph, an item of a list, a row of a table or a heading begins. */
const BEGINNINGS = /\n(?=[ \t]*(?:[-*+|>#\n]|\d+[.)]))/;

const isOfMarks = (markdown: string): boolean =>
  markdown.length > MOST_MARKS && markdown.split(BEGINNINGS).some((part) => (part.match(MARKS)?.length ?? 0) > MOST_MARKS);

/** One block of the model's Markdown, as markup without anything that runs, styles or fetches. */
export function prose(markdown: string): string {
  if (markdown.length > LONGEST_PROSE || isOfMarks(markdown)) return trust(`<pre>${escape(markdown)}</pre>`);
  try {
    return trust(DOMPurify.sanitize(marked.parse(markdown, { async: false }), PROSE));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // It is nested deeper than marked, or a browser, can follow.
    return trust(`<pre>${escape(markdown)}</pre>`);
  }
}

/** The rows of a table that code displayed, if its HTML is nothing but a plain table (as pandas makes them). */
export function table(html: string): string | null {
  if (html.length > LONGEST_TABLE || !isDataframe(html)) return null;
  if (/<(style\s+type|style>\s*#|script|img)/i.test(html)) return null;
  // Parsing them already would make the browser report what the page's policy refuses.
  const unstyled = withoutStyles(html).replace(/\sstyle="[^"]*"/gi, "");
  return trust(DOMPurify.sanitize(unstyled, TABLE));
}

function isDataframe(html: string): boolean {
  const begin = html.indexOf("<table");
  const tag = begin < 0 ? "" : html.slice(begin, begin + LONGEST_TAG);
  return /^[^>]*\sclass="[^">]*\bdataframe\b/.test(tag);
}

/** Each end is looked for once: a pattern for a whole element takes the square of elements without one. */
function withoutStyles(html: string): string {
  const [before, ...parts] = html.split(/<style/i);
  return [before, ...parts.map((part) => part.split(/<\/style>/i).slice(1).join(""))].join("");
}

/** In the colours of the language as soon as its grammar is loaded: then a component that calls this is drawn again. */
export function coloured(code: string, language: string): string {
  const known = code.length <= LONGEST_COLOURED ? grammar(language) : null;
  return trust(known ? known.hljs.highlight(code, { language: known.name, ignoreIllegals: true }).value : escape(code));
}

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
