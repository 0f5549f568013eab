// Inside the frame of an HTML output: the page sends the HTML, the height that it takes goes back.
// This document is sandboxed and its policy allows this one script: nothing in the HTML can run.

addEventListener("message", ({ data, source }) => {
  if (source !== parent) return;
  document.body.innerHTML = data;
  const tell = () => parent.postMessage(document.body.childElementCount ? document.body.scrollHeight : 0, "*");
  new ResizeObserver(tell).observe(document.body);
});
