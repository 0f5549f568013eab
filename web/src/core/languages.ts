// The grammars by which code is coloured. Python, bash and JSON come with the page; the others are loaded when needed.

import { signal } from "@preact/signals";
import type { LanguageFn } from "highlight.js";
import hljs from "highlight.js/lib/core";
import bash from "highlight.js/lib/languages/bash";
import json from "highlight.js/lib/languages/json";
import python from "highlight.js/lib/languages/python";

type Load = () => Promise<{ default: LanguageFn }>;

const OTHERS: Record<string, Load> = {
  c: () => import("highlight.js/lib/languages/c"),
  cpp: () => import("highlight.js/lib/languages/cpp"),
  csharp: () => import("highlight.js/lib/languages/csharp"),
  css: () => import("highlight.js/lib/languages/css"),
  diff: () => import("highlight.js/lib/languages/diff"),
  dockerfile: () => import("highlight.js/lib/languages/dockerfile"),
  go: () => import("highlight.js/lib/languages/go"),
  haskell: () => import("highlight.js/lib/languages/haskell"),
  ini: () => import("highlight.js/lib/languages/ini"),
  java: () => import("highlight.js/lib/languages/java"),
  javascript: () => import("highlight.js/lib/languages/javascript"),
  julia: () => import("highlight.js/lib/languages/julia"),
  kotlin: () => import("highlight.js/lib/languages/kotlin"),
  latex: () => import("highlight.js/lib/languages/latex"),
  lua: () => import("highlight.js/lib/languages/lua"),
  makefile: () => import("highlight.js/lib/languages/makefile"),
  markdown: () => import("highlight.js/lib/languages/markdown"),
  matlab: () => import("highlight.js/lib/languages/matlab"),
  nginx: () => import("highlight.js/lib/languages/nginx"),
  perl: () => import("highlight.js/lib/languages/perl"),
  php: () => import("highlight.js/lib/languages/php"),
  powershell: () => import("highlight.js/lib/languages/powershell"),
  r: () => import("highlight.js/lib/languages/r"),
  ruby: () => import("highlight.js/lib/languages/ruby"),
  rust: () => import("highlight.js/lib/languages/rust"),
  scala: () => import("highlight.js/lib/languages/scala"),
  scss: () => import("highlight.js/lib/languages/scss"),
  sql: () => import("highlight.js/lib/languages/sql"),
  swift: () => import("highlight.js/lib/languages/swift"),
  typescript: () => import("highlight.js/lib/languages/typescript"),
  xml: () => import("highlight.js/lib/languages/xml"),
  yaml: () => import("highlight.js/lib/languages/yaml"),
};

const ALIASES: Record<string, string> = {
  py: "python", python3: "python", ipython: "python", sh: "bash", shell: "bash", zsh: "bash", console: "bash",
  "c++": "cpp", cc: "cpp", h: "c", "c#": "csharp", cs: "csharp", golang: "go", hs: "haskell", toml: "ini", conf: "ini",
  js: "javascript", jsx: "javascript", mjs: "javascript", node: "javascript", ts: "typescript", tsx: "typescript",
  kt: "kotlin", tex: "latex", make: "makefile", md: "markdown", patch: "diff", docker: "dockerfile", pl: "perl",
  ps1: "powershell", rb: "ruby", rs: "rust", html: "xml", svg: "xml", xhtml: "xml", yml: "yaml", jl: "julia",
  json5: "json", jsonc: "json", sqlite: "sql", postgresql: "sql", mysql: "sql",
};

hljs.registerLanguage("python", python);
hljs.registerLanguage("bash", bash);
hljs.registerLanguage("json", json);

/** Counts the grammars that were loaded, so that what is drawn without colours is drawn again. */
const loaded = signal(0);
const asked = new Set<string>();

export interface Grammar {
  hljs: typeof hljs;
  name: string;
}

/** Null for a language that is not known, or not yet: then it is loaded, and the calling component drawn again. */
export function grammar(language: string): Grammar | null {
  const name = Object.hasOwn(ALIASES, language) ? ALIASES[language]! : language;
  if (hljs.getLanguage(name)) return { hljs, name };
  void loaded.value;
  if (Object.hasOwn(OTHERS, name) && !asked.has(name)) void load(name, OTHERS[name]!);
  return null;
}

async function load(name: string, fetch: Load): Promise<void> {
  asked.add(name);
  try {
    hljs.registerLanguage(name, (await fetch()).default);
    loaded.value++;
  } catch {
    asked.delete(name); // The line may be broken: the next block of this language tries again.
  }
}
