// A block of code enters; its source, how it goes and its live output leave.

import { useEffect, useState } from "preact/hooks";
import type { Cell } from "../core/answer";
import { form } from "../core/mime";
import type { Shown } from "../core/outputs";
import { sections } from "../core/sections";
import { Terminal } from "../core/terminal";
import { stretches } from "../core/traceback";
import { folds } from "../folding";
import { text } from "../text";
import type { Error as Raised } from "../wire";
import { Code, lines } from "./code";
import { CopyButton, IconButton } from "./controls";
import { Icon } from "./icons";
import { memo } from "./memo";
import { RichView } from "./rich";
import { TerminalView } from "./terminal";

const TICK_MS = 100;

type Outcome = "writing" | "running" | "waiting" | "ok" | "error" | "stopped" | "timeout" | "died";

export const CellView = memo(({ cell, changes }: { cell: Cell; changes: number }) => {
  const [chosen, setOpen] = useState<boolean | null>(null);
  const open = chosen ?? !folds.value;
  /** Of a folded step only what is worth seeing by itself is shown, such as pictures and tables. */
  const folded = folds.value && !open;
  const state = outcome(cell);
  const shown = folded ? cell.outputs.shown.filter(isResult) : cell.outputs.shown;
  const code = cell.code.trimEnd();
  return (
    <figure class="cell" data-state={state} data-folded={folded || undefined}>
      <figcaption>
        <State state={state} cell={cell} />
        <span class="cell-tools">
          <CopyButton label={text.cell.copy} value={() => cell.code} />
          <IconButton
            icon="chevron"
            class={open ? "turned" : ""}
            label={open ? text.cell.collapse : text.cell.expand}
            expanded={open}
            onClick={() => setOpen(!open)}
          />
        </span>
      </figcaption>
      {open && code && cell.ran === null && <Code class="source" code={code} language="python" />}
      {open && code && cell.ran !== null && <Sections cell={cell} code={code} changes={changes} />}
      {!open && !folded && (
        <button type="button" class="folded" onClick={() => setOpen(true)}>
          {text.cell.lines(lines(code))}
        </button>
      )}
      {(cell.ran === null || !open || !code) && <OutputsView shown={shown} changes={changes} />}
      {cell.fenced && !folded && <p class="detail">{text.cell.fenced}</p>}
      {cell.result?.detail && state !== "stopped" && <p class="detail">{cell.result.detail}</p>}
    </figure>
  );
});

/** Code that runs while it is written: a mark beside the lines that have run, and outputs below their statement. */
function Sections({ cell, code, changes }: { cell: Cell; code: string; changes: number }) {
  const { shown, below } = cell.outputs;
  return sections(code, cell.ran ?? 0, shown, below).map((section, index) => (
    <div key={index} class="section" data-ran={(section.ran && cell.state === "running") || undefined}>
      <Code class="source" code={section.code} language="python" />
      <OutputsView shown={section.outputs} changes={changes} />
    </div>
  ));
}

function OutputsView({ shown, changes }: { shown: readonly Shown[]; changes: number }) {
  if (!shown.length) return null;
  return (
    <div class="outputs" role="group" aria-label={text.cell.output}>
      {shown.map((output, index) => (
        <Output key={index} output={output} changes={changes} />
      ))}
    </div>
  );
}

function State({ state, cell }: { state: Outcome; cell: Cell }) {
  const words = { ...text.cell, ok: text.cell.label }[state];
  return (
    <span class="state">
      <span class="mark">{MARKS[state] && <Icon name={MARKS[state]} size={14} />}</span>
      <span class="language">{state === "ok" ? text.cell.label : words}</span>
      {state === "running" && cell.startedAt !== null && <Clock since={cell.startedAt} />}
      {cell.result && <span class="time">{duration(cell.result.duration_s)}</span>}
    </span>
  );
}

const MARKS = { ok: "check", error: "cross", died: "cross", timeout: "cross", stopped: "stop", waiting: null, writing: null, running: null } as const;

function outcome({ state, result, waitsFor }: Cell): Outcome {
  if (state === "done" && waitsFor.length) return "waiting";
  if (state === "writing" || state === "running" || state === "stopped") return state;
  return result?.status === "interrupted" ? "stopped" : (result?.status ?? "ok");
}

function Clock({ since }: { since: number }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), TICK_MS);
    return () => clearInterval(timer);
  }, []);
  return <span class="time">{duration(Math.max(0, now - since) / 1000)}</span>;
}

export function duration(seconds: number): string {
  if (seconds < 0.0995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

const isResult = (output: Shown): boolean => output.kind === "rich" && form(output.data, output.metadata).kind !== "text";

function Output({ output, changes }: { output: Shown; changes: number }) {
  switch (output.kind) {
    case "text": return <TerminalView terminal={output.terminal} name={output.name} changes={changes} />;
    case "rich": return <RichView data={output.data} metadata={output.metadata} />;
    case "failure": return <Failure error={output.error} />;
  }
}

function Failure({ error }: { error: Raised }) {
  const parts = error.traceback.length ? error.traceback : [`${error.ename}: ${error.evalue}`];
  return (
    <div class="failure" role="group" aria-label={error.ename}>
      {stretches(parts).map((part, index) =>
        part.kind === "shown" ? (
          <Words key={index} words={part.text} />
        ) : (
          <details key={index} class="frames">
            <summary>
              <Icon name="chevron" size={14} />
              {text.cell.frames(part.frames)}
            </summary>
            <Words words={part.text} />
          </details>
        ),
      )}
    </div>
  );
}

function Words({ words }: { words: string }) {
  const terminal = new Terminal();
  terminal.feed(words);
  return <TerminalView terminal={terminal} name="traceback" />;
}
