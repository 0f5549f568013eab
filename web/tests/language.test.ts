import { expect, it } from "vitest";
import { preferred } from "../src/language";
import { text } from "../src/text";
import { german } from "../src/text.de";

type Tree = { [name: string]: unknown };

/** Every string of `words`, functions called with plain values, by its path. */
function strings(words: Tree, path = ""): Map<string, string> {
  const found = new Map<string, string>();
  for (const [name, value] of Object.entries(words)) {
    const here = path ? `${path}.${name}` : name;
    if (typeof value === "string") found.set(here, value);
    else if (typeof value === "function") found.set(here, String((value as (...given: unknown[]) => string)(...given(here))));
    else for (const [inner, one] of strings(value as Tree, here)) found.set(inner, one);
  }
  return found;
}

const given = (path: string): unknown[] => (/starting|incomplete/.test(path) ? ["pool_size", "3 of 4"] : /uploading|branch/.test(path) ? [2, 3] : [2]);

/** Words that are the same in both languages. */
const SAME = /^(product|header\.export\w+|cell\.label|ledger\.(sandbox|tokens)|profiles\.name|share\.link|settings\.(themes\.system|server|sandbox))$/;

it("has every string of the English one, and no other", () => {
  const [english, translated] = [strings(text), strings(german)];
  expect([...translated.keys()].sort()).toEqual([...english.keys()].sort());
  for (const [path, words] of translated) {
    expect(words.trim(), path).not.toBe("");
    if (!SAME.test(path)) expect(words, path).not.toBe(english.get(path));
  }
});

it("is chosen by the browser's first language that the page speaks", () => {
  expect(preferred(["fr-FR", "de-CH", "en"])).toBe("de");
  expect(preferred(["en-GB", "de"])).toBe("en");
  expect(preferred(["fr"])).toBe("en");
});
