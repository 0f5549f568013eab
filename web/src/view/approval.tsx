// What waits for approval enters; buttons, keys and a field for changes or a reason decide about it.

import { useEffect, useRef, useState } from "preact/hooks";
import type { Answer, Asking } from "../core/answer";
import { waitingAfter, type Decision } from "../core/approval";
import { api } from "../net/api";
import { decide, status } from "../session";
import { text } from "../text";
import { Code } from "./code";
import { Icon } from "./icons";

type Mode = "ask" | "edit" | "reject";

export function Approvals({ answers, busy }: { answers: readonly Answer[]; busy: boolean }) {
  return (
    <>
      {waitingAfter(answers).map((asking, index) => (
        <Approval key={asking.id} asking={asking} busy={busy} first={index === 0} />
      ))}
    </>
  );
}

/** What was decided, before what came of it. */
export function Decided({ decision }: { decision: Decision }) {
  const { approval } = text;
  const words = !decision.approve ? approval.rejected : decision.edited !== undefined ? approval.changed : decision.always ? approval.alwaysApproved : approval.approved;
  return (
    <p class="decision">
      <Icon name={decision.approve ? "check" : "cross"} size={14} />
      {decision.reason ? `${words} ${decision.reason}` : words}
    </p>
  );
}

function Approval({ asking, busy, first }: { asking: Asking; busy: boolean; first: boolean }) {
  const [mode, setMode] = useState<Mode>("ask");
  const card = useRef<HTMLElement>(null);
  const may = status.value?.approves;
  useEffect(() => {
    if (may === undefined) void api.status().then((known) => (status.value = known), () => undefined); // An embed has not asked yet.
    if (first && isIdle()) toButtons();
  }, [may]);
  const asked = useRef<Mode>("ask");
  useEffect(() => {
    if (mode === "ask" && asked.current !== "ask") toButtons(); // Escape has left the field.
    asked.current = mode;
  }, [mode]);
  const toButtons = () => card.current?.querySelector<HTMLElement>("button.primary")?.focus({ preventScroll: true });
  const say = (decision: Decision) => decide(asking, decision);
  const keys = (event: KeyboardEvent) => {
    if (mode !== "ask" || busy || event.ctrlKey || event.metaKey || event.altKey || !may) return;
    const act = { y: () => say({ approve: true }), e: () => setMode("edit"), n: () => setMode("reject"), a: () => say({ approve: true, always: true }) }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  };
  const { approval } = text;
  const title = asking.of === "code" ? approval.code : approval.call(asking.name);
  return (
    <section class="approval" ref={card} aria-label={title} onKeyDown={keys}>
      <h2>{title}</h2>
      <p class="why">{approval.because(asking.reasons.join(", "))}</p>
      {asking.of === "call" && mode !== "edit" && <Code class="source" code={pretty(asking.body)} language="json" />}
      {!may ? (
        may === false && <p>{approval.elsewhere}</p>
      ) : mode === "ask" ? (
        <div class="choices">
          <Choice name={approval.approve} letter="y" primary disabled={busy} onClick={() => say({ approve: true })} />
          <Choice name={approval.edit} letter="e" disabled={busy} onClick={() => setMode("edit")} />
          <Choice name={approval.reject} letter="n" disabled={busy} onClick={() => setMode("reject")} />
          <Choice name={approval.always} letter="a" disabled={busy} onClick={() => say({ approve: true, always: true })} />
        </div>
      ) : (
        <Field asking={asking} edits={mode === "edit"} busy={busy} onSay={say} onCancel={() => setMode("ask")} />
      )}
    </section>
  );
}

interface ChoiceProps {
  name: string;
  letter: string;
  primary?: boolean;
  disabled: boolean;
  onClick: () => void;
}

function Choice({ name, letter, primary, disabled, onClick }: ChoiceProps) {
  return (
    <button type="button" class={primary ? "button primary" : "button"} disabled={disabled} aria-keyshortcuts={letter} onClick={onClick}>
      {name} <kbd aria-hidden="true">{letter}</kbd>
    </button>
  );
}

interface FieldProps {
  asking: Asking;
  edits: boolean;
  busy: boolean;
  onSay: (decision: Decision) => void;
  onCancel: () => void;
}

/** For the changed code or arguments, or for the reason of a rejection. */
function Field({ asking, edits, busy, onSay, onCancel }: FieldProps) {
  const [words, setWords] = useState(edits ? (asking.of === "call" ? pretty(asking.body) : asking.body) : "");
  const { approval } = text;
  const wrong = edits && (!words.trim() || (asking.of === "call" && !isObject(words)));
  const send = () => onSay(edits ? { approve: true, edited: words } : { approve: false, reason: words.trim() });
  const keys = (event: KeyboardEvent) => {
    if (event.isComposing) return;
    if (event.key === "Escape") {
      event.preventDefault();
      onCancel();
    }
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey || (!edits && !event.shiftKey))) {
      event.preventDefault();
      if (!wrong && !busy) send();
    }
  };
  return (
    <form onSubmit={(event) => (event.preventDefault(), send())}>
      <textarea
        ref={(element) => void (element && !element.dataset["shown"] && ((element.dataset["shown"] = "1"), element.focus()))}
        class={edits ? "code-field" : ""}
        rows={edits ? Math.min(24, words.split("\n").length + 1) : 2}
        maxLength={edits ? 200_000 : 4_000}
        spellcheck={!edits}
        aria-label={edits ? approval.editLabel : approval.reason}
        placeholder={edits ? "" : approval.reason}
        value={words}
        onInput={(event) => setWords(event.currentTarget.value)}
        onKeyDown={keys}
      />
      <div class="buttons">
        <button type="button" class="button" onClick={onCancel}>
          {text.turn.cancel}
        </button>
        <button type="submit" class="button primary" disabled={busy || wrong}>
          {edits ? approval.run : approval.reject}
        </button>
      </div>
    </form>
  );
}

/** The user is in the middle of nothing: the focus may go to what waits. */
function isIdle(): boolean {
  const at = document.activeElement;
  return !at || at === document.body || (at instanceof HTMLTextAreaElement && !at.value);
}

function pretty(json: string): string {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}

function isObject(json: string): boolean {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}
