// Hostile texts by size enter; which of them cost a function more than 2.5 times for twice the size leaves.

export type Texts = Record<string, (n: number) => string>;
export type Reader = [(text: string) => void, Texts];

export const TEXTS: Texts = {
  "carriage returns before a line": (n) => "\r".repeat(n) + "x".repeat(n),
  "carriage returns between letters": (n) => "x\r".repeat(n),
  backspaces: (n) => "x".repeat(n) + "\b".repeat(n) + "y".repeat(n),
  colours: (n) => "\x1b[31ma\x1b[32mb".repeat(n),
  "colours over colours": (n) => `${"\x1b[31ma\x1b[32mb".repeat(n)}\r${"\x1b[33ma\x1b[34mb".repeat(n)}`,
  "sequences without an end": (n) => "\x1b[0".repeat(n),
  "command strings without an end": (n) => "\x1b]".repeat(n),
};

export const MARKDOWN: Texts = {
  "dollars": (n) => "$x".repeat(n),
  "dollars with spaces": (n) => "$ x ".repeat(n),
  "displayed formulas without an end": (n) => "$$ ".repeat(n),
  "displayed formulas on lines": (n) => "$$\n".repeat(n),
  "round brackets without an end": (n) => "\\( ".repeat(n),
  "square brackets without an end": (n) => "\\[ ".repeat(n),
  "square brackets on lines": (n) => "\\[\n".repeat(n),
  "paragraphs with a formula that never ends": (n) => "a $$ b\n\n".repeat(n),
  "links without an end": (n) => "[a](".repeat(n),
  "images without an end": (n) => "![a](b ".repeat(n),
  "nested links": (n) => "[".repeat(n) + "a" + "]".repeat(n),
  "emphasis": (n) => "*a_".repeat(n),
  "stars": (n) => "*a ".repeat(n),
  "stars in a row": (n) => "*".repeat(n) + "a",
  "strong and emphasis": (n) => "**a *b ".repeat(n),
  "tildes": (n) => "~~a ".repeat(n),
  "backticks": (n) => "\n" + "`".repeat(n) + " x`",
  "backticks of growing length": (n) => Array.from({ length: Math.sqrt(n) }, (_, at) => "`".repeat(at)).join(" "),
  "fences": (n) => "\n```python".repeat(n),
  "fences in fences": (n) => "\n````\n```".repeat(n),
  "tags without an end": (n) => "<a ".repeat(n),
  "attributes without an end": (n) => "<a " + "b='c' ".repeat(n),
  "comments without an end": (n) => "<!-- ".repeat(n),
  "scripts without an end": (n) => "<script>".repeat(n),
  "styles without an end": (n) => '<table class="dataframe"><style '.repeat(n),
  "entities": (n) => "&#".repeat(n),
  "quotes in quotes": (n) => ">".repeat(n) + "a",
  "quotes": (n) => "> a\n".repeat(n),
  "lists": (n) => "- a\n".repeat(n),
  "lists in lists": (n) => Array.from({ length: Math.sqrt(n) }, (_, at) => "  ".repeat(at) + "- a\n").join(""),
  "numbers": (n) => "1. a\n".repeat(n),
  "tables": (n) => "| a | b |\n|---|---|\n".repeat(n),
  "rows": (n) => "| a | b |\n|---|---|\n" + "| 1 | 2 |\n".repeat(n),
  "columns": (n) => "|a".repeat(n) + "|\n" + "|-".repeat(n) + "|\n",
  "headings": (n) => "# a\n".repeat(n),
  "underlines": (n) => "a\n=".repeat(n),
  "rules": (n) => "- ".repeat(n) + "a",
  "definitions": (n) => "[a]: b\n".repeat(n),
  "addresses": (n) => "http://a.b/".repeat(n),
  "mail": (n) => "a@".repeat(n),
  "dots": (n) => "www.".repeat(n),
  "white space": (n) => "x" + " ".repeat(n) + "\n".repeat(n) + "x",
  "spaces and lines": (n) => " \n".repeat(n) + "x",
  "tabs": (n) => "\t".repeat(n) + "x",
  "backslashes": (n) => "\\".repeat(n),
  "words": (n) => "word ".repeat(n),
  "lines": (n) => "word\n".repeat(n),
  "one word": (n) => "a".repeat(n),
};


export const TABLES: Texts = {
  "tables without an end": (n) => "<table ".repeat(n),
  "tables in tables": (n) => '<table class="dataframe">'.repeat(n),
  "words in a class": (n) => `<table class="${"dataframe ".repeat(n)}`,
  "classes": (n) => "<table " + 'class="a" '.repeat(n),
  "styles without an end": (n) => '<table class="dataframe"><style '.repeat(n),
  "styles": (n) => '<table class="dataframe">' + "<style>a</style>".repeat(n),
  "ends of styles": (n) => '<table class="dataframe"><style>' + "</style".repeat(n),
  "style attributes": (n) => '<table class="dataframe"><tr' + ' style="'.repeat(n),
  "white space behind styles": (n) => '<table class="dataframe"><style' + " ".repeat(n),
  "rows": (n) => '<table class="dataframe">' + "<tr><td>1</td></tr>".repeat(n),
  "cells": (n) => '<table class="dataframe"><tr>' + "<td>".repeat(n),
  "other elements": (n) => '<table class="dataframe"><tr><td>' + "<b>".repeat(n),
  "comments": (n) => '<table class="dataframe">' + "<!--".repeat(n),
  "attributes": (n) => '<table class="dataframe"><tr ' + "a=b ".repeat(n),
};

export const SOURCES: Texts = {
  ...TEXTS,
  ...MARKDOWN,
  "quotes without an end": (n) => "'".repeat(n),
  "quotes in turns": (n) => "'\"".repeat(n),
  "long strings without an end": (n) => "'''a\n".repeat(n),
  "formatted strings": (n) => "f'{".repeat(n),
  "functions": (n) => "def f(".repeat(n),
  "numbers": (n) => "1".repeat(n),
  "numbers with lines": (n) => "1_".repeat(n),
  "decorators": (n) => "@a.".repeat(n),
  "prompts": (n) => ">>> ".repeat(n),
  "comments": (n) => "# a\n".repeat(n),
  "brackets": (n) => "(".repeat(n),
};

function took<T>(run: (given: T) => void, given: T): number {
  const began = performance.now();
  run(given);
  return performance.now() - began;
}

export function growth<T>(run: (given: T) => void, make: (n: number) => T): number {
  let size = 500;
  while (took(run, make(size)) < 2 && size < 100_000) size *= 2;
  const found = measured(run, make, size);
  // Beyond a processor's caches each byte costs more, but no more for each doubling.
  return found < 2.4 ? found : Math.min(found, measured(run, make, 4 * size));
}

function measured<T>(run: (given: T) => void, make: (n: number) => T, size: number): number {
  const [small, large] = [make(size), make(4 * size)];
  let [once, fourTimes] = [Infinity, Infinity];
  for (let round = 0; round < 6; round++) {
    once = Math.min(once, took(run, small));
    fourTimes = Math.min(fourTimes, took(run, large));
    if (Math.sqrt(fourTimes / once) < 2.4) break;
  }
  return once < 1 ? 1 : Math.sqrt(fourTimes / once);
}


const ATTEMPTS = 3;

/** The texts that cost too much: what grows does so each time; what only met a busy machine does not. */
export function grown([read, texts]: Reader): string[] {
  let found = Object.keys(texts);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) found = found.filter((name) => growth(read, texts[name]!) >= 2.5);
  return found;
}
