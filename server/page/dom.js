// A tag, a class and children enter, an element leaves. Strings become text nodes, never HTML.

export function make(tag, className = "", ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}
