// A question and its answer enter; both as they stand leave, and what can be done with them.

import type { AnswerPart, Call } from "../core/answer";
import { day, time } from "../format";
import { ask, current } from "../session";
import { text } from "../text";
import type { Turn } from "../turn";
import type { ContainerFileCitation } from "../wire";
import { Approvals, Decided } from "./approval";
import { CellView } from "./cell";
import { Ending } from "./ending";
import { Icon } from "./icons";
import { memo } from "./memo";
import { Prose, type Written } from "./prose";
import { Question, When } from "./question";
import { Files } from "./saved";

interface Props {
  turn: Turn;
  last: boolean;
  busy: boolean;
  /** The date stands before the question. */
  dated: boolean;
}

/** The kernel does not go back to the point at which a question is asked. */
const KEEP = { "codeact:state": "keep" };

export const TurnView = memo(({ turn, last, busy, dated }: Props) => (
  <section class="turn" data-last={last || undefined}>
    {dated && <p class="day"><When at={turn.askedAt} words={`${day(turn.askedAt)}, ${time(turn.askedAt)}`} /></p>}
    {turn.asked.text || turn.asked.attachments.length ? <Question turn={turn} busy={busy} dated={dated} /> : null}
    <Decisions turn={turn} />
    <AnswerView turn={turn} last={last} busy={busy} />
  </section>
));

function Decisions({ turn }: { turn: Turn }) {
  void turn.version.value; // drawn again when it changes
  return turn.decidedNothing ? null : <>{turn.asked.decisions?.map((decision, index) => <Decided key={index} decision={decision} />)}</>;
}

function AnswerView({ turn, last, busy }: { turn: Turn; last: boolean; busy: boolean }) {
  const changes = turn.version.value; // drawn again when it changes
  const { answer } = turn;
  return (
    <article class="answer" aria-label={text.turn.answer} aria-busy={!turn.ended}>
      {answer.ownNotices.map(({ code, message }) => (
        <p class="notice" data-code={code}>
          <strong>{text.notice[code] ?? code.replaceAll("_", " ")}</strong> {message}
          {code === "kernel_restored" && answer.restored && <> {text.turn.restored(answer.restored.seconds)}</>}
          {code === "kernel_restored" && turn.ended && turn.asked.text !== "" && (
            <button type="button" class="button" disabled={busy} onClick={() => ask(turn.asked.text, turn.asked.attachments, turn.previousId, KEEP)}>
              {text.turn.keepKernel}
            </button>
          )}
        </p>
      ))}
      <Parts parts={answer.parts} files={answer.files} />
      {!turn.ended && (answer.waitsFor || waits(answer.parts)) && <Waiting why={answer.waitsFor} />}
      {answer.files.length > 0 && <Files turn={turn} />}
      {last && turn.ended && <Approvals answers={current.value.path.value.filter((one) => !one.decidedNothing).map(({ answer }) => answer)} busy={busy} />}
      {turn.ended && <Ending turn={turn} busy={busy} changes={changes} />}
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
    case "asking": return null; // `Approvals` shows it while it waits.
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
          <div class="thought" dir="auto">{part.text}</div>
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
