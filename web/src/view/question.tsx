// A question as it was asked, to be edited and asked again, and the branches that came of that.

import { useState } from "preact/hooks";
import type { Asked } from "../core/asked";
import { siblings } from "../core/tree";
import { date, time } from "../format";
import { ask, current } from "../session";
import { text } from "../text";
import type { Turn } from "../turn";
import { Attached } from "./attached";
import { lines } from "./code";
import { IconButton } from "./controls";

/** `dated`: the time stands above it. */
export function Question({ turn, busy, dated }: { turn: Turn; busy: boolean; dated: boolean }) {
  const [editing, setEditing] = useState(false);
  const { asked } = turn;
  if (editing) return <Editor turn={turn} onDone={() => setEditing(false)} />;
  return (
    <div class="question" role="group" aria-label={text.turn.question}>
      <Attached files={asked.attachments} />
      <div class="said">
        <div class="question-tools">
          {!dated && <When at={turn.askedAt} words={time(turn.askedAt)} />}
          <Branches turn={turn} busy={busy} />
          <IconButton icon="edit" label={text.turn.edit} disabled={busy} onClick={() => setEditing(true)} />
        </div>
        {asked.text && <Words words={asked.text} />}
      </div>
    </div>
  );
}

/** Longer questions, such as pasted texts, are folded. */
const SHOWN_CHARACTERS = 2000;
const SHOWN_LINES = 30;

function Words({ words }: { words: string }) {
  const [all, setAll] = useState(false);
  const long = words.length > SHOWN_CHARACTERS || lines(words) > SHOWN_LINES;
  return (
    <div class="words">
      <div class="bubble" dir="auto" data-folded={(long && !all) || undefined}>{words}</div>
      {long && <button type="button" class="quiet" onClick={() => setAll(!all)}>{all ? text.cell.showLess : text.cell.showAll}</button>}
    </div>
  );
}

export function When({ at, words }: { at: number; words: string }) {
  return <time dateTime={new Date(at).toISOString()} title={`${date(at)}, ${time(at)}`}>{words}</time>;
}

/** What was said meanwhile, until an answer begins with it. */
export function Said({ said }: { said: Asked }) {
  return (
    <div class="question waits" role="group" aria-label={text.turn.question}>
      <Attached files={said.attachments} />
      {said.text && <div class="bubble" dir="auto">{said.text}</div>}
      <p class="remark">{text.turn.said}</p>
    </div>
  );
}

function Editor({ turn, onDone }: { turn: Turn; onDone: () => void }) {
  const [words, setWords] = useState(turn.asked.text);
  const save = () => {
    onDone();
    ask(words, turn.asked.attachments, turn.previousId);
  };
  const keys = (event: KeyboardEvent) => {
    if (event.isComposing) return;
    if (event.key === "Escape") onDone();
    if (event.key !== "Enter" || event.shiftKey) return;
    event.preventDefault();
    if (words.trim()) save();
  };
  return (
    <form class="editor" onSubmit={(event) => (event.preventDefault(), save())}>
      <textarea
        ref={(element) => void (element && document.activeElement !== element && element.focus())}
        aria-label={text.turn.editLabel}
        dir="auto"
        value={words}
        onInput={(event) => setWords(event.currentTarget.value)}
        onKeyDown={keys}
      />
      <div class="buttons">
        <button type="button" class="button" onClick={onDone}>
          {text.turn.cancel}
        </button>
        <button type="submit" class="button primary" disabled={!words.trim()}>
          {text.turn.save}
        </button>
      </div>
    </form>
  );
}

function Branches({ turn, busy }: { turn: Turn; busy: boolean }) {
  const all = siblings(current.value.turns, turn);
  if (all.length < 2) return null;
  const at = all.indexOf(turn);
  const go = (step: number) => current.value.show(all[at + step]!.id);
  return (
    <span class="branches" role="group" aria-label={text.turn.branch(at + 1, all.length)}>
      <IconButton icon="left" label={text.turn.previous} disabled={busy || at === 0} onClick={() => go(-1)} />
      <span aria-hidden="true">
        {at + 1}/{all.length}
      </span>
      <IconButton icon="right" label={text.turn.next} disabled={busy || at === all.length - 1} onClick={() => go(1)} />
    </span>
  );
}
