// A question and its answer enter; both as they stand leave, and what can be done with them.

import { useState } from "preact/hooks";
import type { AnswerPart, Call } from "../core/answer";
import type { Asked } from "../core/asked";
import { siblings } from "../core/tree";
import type { Turn } from "../turn";
import type { ContainerFileCitation } from "../wire";
import { fileAddress } from "../net/api";
import { ask, current } from "../session";
import { text } from "../text";
import { Attached } from "./attached";
import { CellView } from "./cell";
import { CopyButton, Dialog, IconButton } from "./controls";
import { Icon } from "./icons";
import { LedgerView } from "./ledger";
import { memo } from "./memo";
import { Prose, type Written } from "./prose";
import { Download } from "./stored";

interface Props {
  turn: Turn;
  last: boolean;
  busy: boolean;
}

export const TurnView = memo(({ turn, last, busy }: Props) => (
  <section class="turn" data-last={last || undefined}>
    {turn.asked.text || turn.asked.attachments.length ? <Question turn={turn} busy={busy} /> : null}
    <AnswerView turn={turn} busy={busy} />
  </section>
));

// ---- the question -------------------------------------------------------------------------------------

function Question({ turn, busy }: { turn: Turn; busy: boolean }) {
  const [editing, setEditing] = useState(false);
  const { asked } = turn;
  if (editing) return <Editor turn={turn} onDone={() => setEditing(false)} />;
  return (
    <div class="question" role="group" aria-label={text.turn.question}>
      <Attached files={asked.attachments} />
      <div class="said">
        <div class="question-tools">
          <Branches turn={turn} busy={busy} />
          <IconButton icon="edit" label={text.turn.edit} disabled={busy} onClick={() => setEditing(true)} />
        </div>
        {asked.text && <div class="bubble">{asked.text}</div>}
      </div>
    </div>
  );
}

/** What was said meanwhile, until an answer begins with it. */
export function Said({ said }: { said: Asked }) {
  return (
    <div class="question waits" role="group" aria-label={text.turn.question}>
      <Attached files={said.attachments} />
      {said.text && <div class="bubble">{said.text}</div>}
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

// ---- the answer ---------------------------------------------------------------------------------------

function AnswerView({ turn, busy }: { turn: Turn; busy: boolean }) {
  void turn.version.value; // drawn again when it changes
  const { answer } = turn;
  return (
    <article class="answer" aria-label={text.turn.answer} aria-busy={!turn.ended}>
      {answer.ownNotices.map(({ code, message }) => (
        <p class="notice" data-code={code}>
          <strong>{text.notice[code] ?? code.replaceAll("_", " ")}</strong> {message}
        </p>
      ))}
      <Parts parts={answer.parts} files={answer.files} />
      {!turn.ended && (answer.waitsFor || waits(answer.parts)) && <Waiting why={answer.waitsFor} />}
      {answer.files.length > 0 && <Files turn={turn} />}
      {turn.ended && <Ending turn={turn} busy={busy} />}
    </article>
  );
}

interface PartsProps {
  parts: readonly (AnswerPart | null)[];
  files?: readonly ContainerFileCitation[];
}

const NO_FILES: readonly ContainerFileCitation[] = [];

export function Parts({ parts, files = NO_FILES }: PartsProps) {
  return (
    <>{parts.map((part) => part && <PartView key={part.id} part={part} changes={part.changes} files={files} count={files.length} />)}</>
  );
}

/** Nothing moves by itself: the model has been asked and has not said anything yet. */
function waits(parts: readonly (AnswerPart | null)[]): boolean {
  const last = parts.findLast((part) => part !== null);
  return !last || (last.kind === "cell" ? last.state === "done" : last.done);
}

interface PartProps extends Written {
  part: AnswerPart;
  changes: number;
}

const PartView = memo(({ part, changes, files, count }: PartProps) => {
  switch (part.kind) {
    case "prose":
      return (
        <>
          {part.early && <p class="remark">{text.turn.early}</p>}
          <Prose source={part.text} written={{ files, count }} />
        </>
      );
    case "cell": return <CellView cell={part} changes={changes} />;
    case "call": return <CallView call={part} changes={changes} />;
    case "summary":
      return part.done && !part.text ? null : (
        <details class="thinking summary">
          <summary data-live={!part.done || undefined}>
            <Icon name="chevron" size={14} />
            {part.done ? text.turn.summarised : text.turn.summarising}
          </summary>
          <pre class="thought">{part.text}</pre>
        </details>
      );
    case "thinking":
      return (
        <details class="thinking">
          <summary data-live={!part.done || undefined}>
            <Icon name="chevron" size={14} />
            {part.done ? text.turn.thinking : text.turn.thinkingLive}
          </summary>
          <div class="thought">{part.text}</div>
        </details>
      );
  }
});

function callText(call: Call): string {
  const steps = call.steps.map((step) => [step.code, step.text].filter(Boolean).join("\n"));
  return [call.arguments, ...steps, call.error ?? call.output].filter(Boolean).join("\n\n");
}

const CallView = memo(({ call }: { call: Call; changes: number }) => (
  <details class="thinking call">
    <summary data-live={!call.done || undefined}>
      <Icon name="chevron" size={14} />
      {text.turn.call} <code>{call.name}</code>
    </summary>
    <pre class="thought">{callText(call)}</pre>
  </details>
));

function Waiting({ why }: { why: string }) {
  return (
    <p class="waiting">
      <span class="dots" aria-hidden="true"><i /><i /><i /></span>
      <span class={why ? "" : "unseen"}>{why || text.turn.waiting}</span>
    </p>
  );
}

function Files({ turn }: { turn: Turn }) {
  return (
    <ul class="chips" aria-label={text.header.files}>
      {turn.answer.files.map((file) => (
        <li key={file.file_id}>
          <Download
            class="chip"
            href={fileAddress(file.container_id, file.file_id)}
            name={file.filename}
            label={text.files.download(file.filename)}
          >
            <Icon name="download" size={15} />
            <span>{file.filename}</span>
          </Download>
        </li>
      ))}
    </ul>
  );
}

function Ending({ turn, busy }: { turn: Turn; busy: boolean }) {
  const { response } = turn.answer;
  const trouble = turn.failure || response?.error?.message;
  const again = () => ask(turn.asked.text, turn.asked.attachments, turn.previousId);
  return (
    <>
      {trouble && (
        <div class="trouble" role="alert">
          <p>{trouble}</p>
          <button type="button" class="button" disabled={busy} onClick={again}>
            {text.turn.retry}
          </button>
        </div>
      )}
      {!trouble && response && <Remark status={response.status} reason={response.incomplete_details?.reason ?? null} />}
      {response && (
        <div class="answer-tools">
          <CopyButton label={text.turn.copy} value={() => words(turn)} />
          <IconButton icon="again" label={text.turn.regenerate} disabled={busy} onClick={again} />
          <Thumbs turn={turn} rating={turn.rating} />
          <LedgerView response={response} />
        </div>
      )}
    </>
  );
}

function Thumbs({ turn, rating }: { turn: Turn; rating: Turn["rating"] }) {
  const [asking, setAsking] = useState<"up" | "down" | null>(null);
  const press = (pressed: "up" | "down") => () => {
    const next = rating === pressed ? null : pressed;
    void current.value.rate(turn, next, null);
    setAsking(next);
  };
  return (
    <>
      <IconButton icon="good" label={text.turn.good} pressed={rating === "up"} onClick={press("up")} />
      <IconButton icon="bad" label={text.turn.bad} pressed={rating === "down"} onClick={press("down")} />
      {asking && <Comment turn={turn} rating={asking} onDone={() => setAsking(null)} />}
    </>
  );
}

function Comment({ turn, rating, onDone }: { turn: Turn; rating: "up" | "down"; onDone: () => void }) {
  const [words, setWords] = useState("");
  const send = () => {
    if (words.trim()) void current.value.rate(turn, rating, words.trim());
    onDone();
  };
  return (
    <Dialog title={rating === "up" ? text.feedback.titleGood : text.feedback.title} onClose={onDone}>
      <form onSubmit={(event) => (event.preventDefault(), send())}>
        <label class="field">
          <span class="unseen">{text.feedback.placeholder}</span>
          <textarea
            rows={3}
            maxLength={4000}
            placeholder={text.feedback.placeholder}
            value={words}
            onInput={(event) => setWords(event.currentTarget.value)}
          />
        </label>
        <div class="buttons">
          <button type="submit" class="button primary" disabled={!words.trim()}>
            {text.feedback.send}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

function Remark({ status, reason }: { status: string; reason: string | null }) {
  if (status === "cancelled") return <p class="remark">{text.turn.stopped}</p>;
  if (reason === "steered") return null;
  if (reason) return <p class="remark">{text.turn.incomplete(reason)}</p>;
  return null;
}

/** The answer as Markdown, its code in fences. */
function words({ answer }: Turn): string {
  const parts = answer.parts.map((part) => {
    if (part?.kind === "prose") return part.text.trim();
    return part?.kind === "cell" ? `\`\`\`python\n${part.code.trimEnd()}\n\`\`\`` : "";
  });
  return parts.filter(Boolean).join("\n\n");
}
