// The panel: a title, the conversation, the question; above them what the visitor can do about trouble.

import { useEffect } from "preact/hooks";
import { announced, ask, current, line, warm } from "../../session";
import { text } from "../../text";
import { Composer } from "../../view/composer";
import { IconButton } from "../../view/controls";
import { StatusLine } from "../../view/line";
import { Thread } from "../../view/thread";
import { look } from "./look";
import { close, enter, focus, fresh, settled } from "./state";
import { trouble } from "./visitor";

export function Panel() {
  const { title, inline } = look.value ?? { title: "", inline: true };
  useEffect(() => {
    addEventListener("keydown", shortcut);
    return () => removeEventListener("keydown", shortcut);
  }, []);
  useEffect(() => {
    document.title = title || text.product;
  }, [title]);
  const begin = () => {
    fresh();
    focus();
  };
  // A part of the page is loaded with it; whoever comes near may ask soon.
  return (
    <main class="main" onPointerEnter={warm} onFocusCapture={warm}>
      <header class="header">
        <h1 class="heading">{title}</h1>
        {current.value.path.value.length > 0 && <IconButton icon="create" label={text.embed.create} onClick={begin} />}
        {!inline && <IconButton icon="close" label={text.embed.close} onClick={close} />}
      </header>
      <Thread empty={settled.value && <Greeting />} />
      <footer class="footer">
        {trouble.value ? <Trouble /> : <StatusLine />}
        <Composer focused={false} />
        <p class="hint">{text.embed.hint}</p>
      </footer>
      <p class="unseen" aria-live="polite">{announced.value}</p>
    </main>
  );
}

function Greeting() {
  const { greeting, starters } = look.value ?? { greeting: "", starters: [] };
  return (
    <div class="empty">
      <h2>{greeting}</h2>
      {starters.length > 0 && (
        <ul class="examples">
          {starters.map((starter) => (
            <li key={starter}>
              <button type="button" disabled={line.value !== "open"} onClick={() => ask(starter, [])}>
                {starter}
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

function Trouble() {
  return (
    <div class="trouble" role="alert">
      <p>{trouble.value}</p>
      <button type="button" class="button" onClick={() => void enter()}>
        {text.embed.retry}
      </button>
    </div>
  );
}

/** Escape leaves the innermost thing that is going on. */
function shortcut(event: KeyboardEvent): void {
  if (event.key !== "Escape" || event.defaultPrevented || event.isComposing) return;
  if (document.querySelector("dialog[open], [popover]:popover-open")) return;
  if (current.value.running.value) current.value.stop();
  else close();
}
