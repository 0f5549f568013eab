// The model's Markdown enters, elements leave: the subset that short answers use. Everything else stays text.

import { make } from "./dom.js";

const FENCE = /^\s{0,3}(```+|~~~+)/;
const ITEM = /^\s*([-*+]|\d+[.)])\s+/;
const HEADING = /^(#{1,6})\s+(.*)$/;
const INLINE = /(`[^`\n]+`|\*\*[^*\n]+\*\*|\*[^*\s][^*\n]*\*)/;

/** Splits text into blocks, each a string; only the last one can still change when text is added. */
export function blocks(text) {
  const found = [];
  let lines = [];
  let kind = "";
  let fence = "";
  const close = () => {
    if (lines.length) found.push(lines.join("\n"));
    lines = [];
    kind = "";
  };
  for (const line of text.split("\n")) {
    const mark = FENCE.exec(line)?.[1];
    if (fence) {
      lines.push(line);
      if (mark?.startsWith(fence) && line.trim() === mark) {
        close();
        fence = "";
      }
    } else if (mark) {
      close();
      fence = mark;
      lines.push(line);
    } else if (!line.trim()) {
      close();
    } else {
      const now = ITEM.test(line) || (kind === "list" && /^\s/.test(line)) ? "list" : "text";
      if (now !== kind || HEADING.test(line)) close();
      kind = HEADING.test(line) ? "heading" : now;
      lines.push(line);
    }
  }
  close();
  return found;
}

function inline(text) {
  return text.split(INLINE).map((part, index) => {
    if (index % 2 === 0) return part;
    if (part.startsWith("`")) return make("code", "", part.slice(1, -1));
    if (part.startsWith("**")) return make("strong", "", part.slice(2, -2));
    return make("em", "", part.slice(1, -1));
  });
}

/** One block of `blocks` as an element. */
export function block(text) {
  if (FENCE.test(text)) {
    const lines = text.split("\n").slice(1);
    if (FENCE.test(lines.at(-1) ?? "")) lines.pop();
    return make("pre", "fence", make("code", "", lines.join("\n")));
  }
  const heading = HEADING.exec(text);
  if (heading) return make("h3", "", ...inline(heading[2]));
  if (ITEM.test(text)) {
    const list = make(/^\s*\d/.test(text) ? "ol" : "ul");
    for (const line of text.split("\n")) {
      if (ITEM.test(line)) list.append(make("li", "", ...inline(line.replace(ITEM, ""))));
      else list.lastChild.append("\n", ...inline(line.trim()));
    }
    const first = parseInt(text, 10);
    if (first > 1) list.start = first;
    return list;
  }
  return make("p", "", ...inline(text));
}
