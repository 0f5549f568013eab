// A MIME bundle of the kernel enters, the richest element that can be shown safely leaves.

import { make } from "./dom.js";
import { block, blocks } from "./markdown.js";
import { Screen } from "./screen.js";

const SVG = "image/svg+xml";
const PICTURES = [SVG, "image/png", "image/jpeg", "image/gif", "image/webp"];
const TALLEST_PX = 480;

const plain = new WeakMap(); // frame → what to show where its HTML turns out to show nothing

/** `metadata` may say where a stored value is kept that is too large for its place. */
export function rich(data, metadata = {}) {
  const words = String(data["text/plain"] ?? "");
  for (const kind of PICTURES) {
    const source = kept(metadata, kind) ?? inline(data, kind);
    if (source) return picture(source, words);
  }
  if (data["text/html"]) return frame(data["text/html"], words);
  if (data["text/markdown"]) return make("div", "prose", ...blocks(String(data["text/markdown"])).map(block));
  if (data["text/latex"]) return text(data["text/latex"]);
  if (words) return text(words);
  if ("application/json" in data) return text(JSON.stringify(data["application/json"], null, 2));
  return text(`[${Object.keys(data).join(", ")}]`);
}

function kept(metadata, kind) {
  const address = metadata["codeact:url"]?.[kind];
  return String(address).startsWith("/v1/blobs/") ? address : null; // code can write metadata, too
}

function inline(data, kind) {
  if (!data[kind]) return null;
  if (kind === SVG) return `data:${kind};charset=utf-8,${encodeURIComponent(data[kind])}`;
  return `data:${kind};base64,${data[kind]}`;
}

function text(words) {
  const screen = new Screen("stream");
  screen.feed(words);
  screen.flush();
  return screen.element;
}

function picture(source, words) {
  const image = make("img", "picture");
  image.src = source; // as <img>, an SVG runs no scripts and loads nothing
  image.alt = words && !words.startsWith("<") ? words : "Picture drawn by the code";
  return image;
}

/** A frame without our origin. Its own policy keeps scripts and the network from its HTML. */
function frame(html, words) {
  const shown = make("iframe", "html");
  shown.setAttribute("sandbox", "allow-scripts");
  shown.title = "HTML output";
  shown.src = "frame.html";
  shown.addEventListener("load", () => shown.contentWindow.postMessage(html, "*"));
  plain.set(shown, words);
  return shown;
}

addEventListener("message", ({ data, source }) => {
  const shown = [...document.querySelectorAll("iframe.html")].find((candidate) => candidate.contentWindow === source);
  if (!shown) return;
  if (data > 0) shown.style.height = `${Math.min(data, TALLEST_PX)}px`;
  else shown.replaceWith(text(plain.get(shown) || "[text/html]"));
});
