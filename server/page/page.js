// The page: what the user types enters the socket, events come back and are shown, at most once per frame.

import { make } from "./dom.js";
import { Answer } from "./answer.js";

const [log, empty, line, input, send, stop] = ["log", "empty", "line", "input", "send", "stop"].map((id) =>
  document.getElementById(id),
);

const NEAR_END_PX = 120;
const FIRST_RETRY_MS = 300;
const LONGEST_RETRY_MS = 5000;
const STATUS_RETRY_MS = 1000;
const REFUSALS = {
  4401: "This server asks for an API key, which this page cannot send. Use codeact chat in a terminal.",
  4403: "This server does not answer under this name. Open the address that codeact serve prints.",
};

let socket = null;
let retry_ms = FIRST_RETRY_MS;
let retry = 0;
let statusRetry = 0;
let previous = null; // id of the conversation's last response
let answer = null; // the last one on the page
let running = null; // what the socket knows of it until its end: { id, last, resuming, stopping }
let following = false;
let frame = 0;

// ---- the socket --------------------------------------------------------------------------------------

function connect() {
  clearTimeout(retry);
  const opening = new WebSocket(new URL("v1/responses", document.baseURI.replace(/^http/, "ws")));
  socket = opening;
  opening.onopen = () => {
    retry_ms = FIRST_RETRY_MS;
    line.textContent = "";
    if (running) resume();
    showStatus();
    enable();
  };
  opening.onmessage = (message) => opening === socket && take(JSON.parse(message.data));
  opening.onclose = (closed) => opening === socket && lost(closed.code);
}

function lost(code) {
  if (running && !running.id) finish("The connection was lost before the server took this question. Send it again.");
  enable();
  line.textContent = REFUSALS[code] ?? "Connection lost. Reconnecting…";
  if (REFUSALS[code]) return;
  retry = setTimeout(connect, retry_ms);
  retry_ms = Math.min(2 * retry_ms, LONGEST_RETRY_MS);
}

const isOpen = () => socket.readyState === WebSocket.OPEN;
const tell = (event) => isOpen() && socket.send(JSON.stringify(event));

/** The run went on in the server: asks for the events that came since the last one seen here. */
function resume() {
  running.resuming = true;
  tell({ type: "codeact:response.resume", response_id: running.id, starting_after: running.last });
}

/** For an answer whose events the server no longer holds: what it has stored. */
async function restore(response_id) {
  try {
    const reply = await fetch(`v1/responses/${response_id}`);
    const body = await reply.json();
    if (running?.id !== response_id) return; // meanwhile the user has gone on
    if (reply.ok) answer.restore(body);
    finish(reply.ok ? null : body.error.message);
  } catch {
    finish("The connection was lost and the answer could not be fetched again.");
  }
}

function take(event) {
  if (!running) return;
  if (event.type === "error") {
    if (running.resuming) restore(running.id);
    else if (!running.id) finish(event.error.message);
    return; // else it is about a stop that came too late
  }
  running.resuming = false;
  running.last = event.sequence_number;
  if (event.type === "response.created") {
    running.id = previous = event.response.id;
    if (running.stopping) cancel();
  }
  if (answer.take(event)) finish();
  else frame ||= requestAnimationFrame(draw);
}

// ---- a question and its answer -----------------------------------------------------------------------

function ask(text) {
  if (running || !text.trim() || !isOpen()) return;
  running = { id: null, last: -1, resuming: false, stopping: false };
  answer = new Answer();
  empty.hidden = true;
  log.append(make("p", "question", text), answer.element);
  tell({ type: "response.create", input: text, ...(previous && { previous_response_id: previous }) });
  input.value = "";
  fit();
  following = true;
  announce("Answering");
  enable();
}

function finish(failure = null) {
  running = null;
  if (failure) answer.fail(failure);
  draw();
  announce(failure ?? `Answer complete. ${answer.lastWords}`);
  enable();
}

function cancel() {
  if (!running) return;
  running.stopping = true;
  if (running.id) tell({ type: "response.cancel", response_id: running.id });
  enable();
}

/** A socket of its own keeps what the old conversation still sends away from the new one. */
function startAnew() {
  cancel();
  const old = socket;
  running = answer = previous = null;
  following = false;
  log.replaceChildren(empty);
  empty.hidden = false;
  connect();
  old.close();
  enable();
  input.focus();
}

function draw() {
  cancelAnimationFrame(frame);
  frame = 0;
  answer?.flush();
}

// ---- what stands around the conversation -------------------------------------------------------------

function enable() {
  send.hidden = running !== null;
  stop.hidden = running === null;
  stop.disabled = running?.stopping ?? false;
  send.disabled = !isOpen() || !input.value.trim();
  document.querySelectorAll("#examples button").forEach((button) => (button.disabled = !isOpen()));
}

function announce(text) {
  document.getElementById("announcer").textContent = text;
}

/** The box grows with its text, up to what the stylesheet allows. */
function fit() {
  input.style.height = "auto";
  input.style.height = `${input.scrollHeight + 2}px`;
}

async function showStatus() {
  clearTimeout(statusRetry);
  const reply = await fetch("v1/status").catch(() => null);
  if (!reply?.ok) return;
  const status = await reply.json();
  const { model, sandbox, store, examples } = status;
  const parts = { Model: model, Sandbox: sandbox?.summary, Database: store };
  document.getElementById("status").replaceChildren(
    ...Object.entries(parts).map(([name, value]) => {
      const entry = make("div", value ? "" : "starting", make("dt", "", name), make("dd", "", value ?? "starting…"));
      entry.title = value ?? "";
      return entry;
    }),
  );
  const banners = [];
  if (model === "demo") {
    banners.push("Demo model: it plays a few scripted conversations. CODEACT_MODEL names a real one.");
  }
  if (sandbox && !sandbox.isolated) {
    banners.push(`Code is not isolated from this machine. ${sandbox.missing.join(" ")}`);
  }
  document.getElementById("banners").replaceChildren(...banners.map((text) => make("p", "banner", text)));
  document.getElementById("examples").replaceChildren(...examples.map((text) => make("li", "", example(text))));
  enable();
  if (!(model && sandbox && store)) statusRetry = setTimeout(showStatus, STATUS_RETRY_MS);
}

function example(text) {
  const button = make("button", "", text);
  button.type = "button";
  button.addEventListener("click", () => ask(text));
  return button;
}

// ---- wiring ------------------------------------------------------------------------------------------

document.getElementById("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  ask(input.value);
});
input.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  ask(input.value);
});
input.addEventListener("input", () => {
  fit();
  enable();
});
stop.addEventListener("click", cancel);
document.addEventListener("keydown", (event) => event.key === "Escape" && cancel());
document.getElementById("new").addEventListener("click", startAnew);

const view = document.scrollingElement;
let top_px = 0;
addEventListener("scroll", () => {
  // Only a scroll upwards is the user's: new content alone moves the end away from the view, too.
  if (view.scrollHeight - view.scrollTop - view.clientHeight < NEAR_END_PX) following = true;
  else if (view.scrollTop < top_px) following = false;
  top_px = view.scrollTop;
});
new ResizeObserver(() => following && view.scrollTo(0, view.scrollHeight)).observe(log);

connect();
enable();
input.focus();
