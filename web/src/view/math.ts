// A formula's element enters, with its TeX; the typeset formula stands in it. Loaded only where there is one.

import katex from "katex";
import "katex/dist/katex.min.css";

export function typeset(element: HTMLElement): void {
  const { tex, display } = element.dataset;
  katex.render(tex ?? "", element, { displayMode: display === "block", throwOnError: false, strict: "ignore" });
}
