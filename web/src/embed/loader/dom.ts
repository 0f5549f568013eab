// A name and attributes enter, an element leaves: no markup is parsed, so that no policy of the host page minds.

const SVG = "http://www.w3.org/2000/svg";

type Attributes = Record<string, string>;

export function made<K extends keyof HTMLElementTagNameMap>(name: K, attributes: Attributes = {}): HTMLElementTagNameMap[K] {
  return dressed(document.createElement(name), attributes);
}

/** A drawing of 24 by 24, one path for each class. */
export function drawn(paths: Attributes): SVGElement {
  const svg = dressed(document.createElementNS(SVG, "svg"), { viewBox: "0 0 24 24", "aria-hidden": "true" });
  for (const [name, d] of Object.entries(paths)) svg.append(dressed(document.createElementNS(SVG, "path"), { class: name, d }));
  return svg;
}

export function dressed<E extends Element>(element: E, attributes: Attributes): E {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
