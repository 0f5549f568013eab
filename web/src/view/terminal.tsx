// A terminal's lines enter; what is to be seen of them leaves: the ends of a long one, or all of it in chunks.

import { useState } from "preact/hooks";
import { classes, type Style } from "../core/sgr";
import { plain, type Line, type Run, type Terminal } from "../core/terminal";
import { text } from "../text";
import { memo } from "./memo";

const SHOWN_WHOLE = 160;
const HEAD = 30;
const TAIL = 90;
const CHUNK = 200;
const LONGEST_LINE = 4000;

interface Props {
  terminal: Terminal;
  name: string;
  /** Another value where the terminal may have changed, which is not seen by itself. */
  changes?: number;
}

export function TerminalView({ terminal, name }: Props) {
  const [all, setAll] = useState(false);
  const { lines, height } = terminal;
  if (height <= SHOWN_WHOLE) return <Lines class={name} lines={lines} from={0} to={height} />;
  const toggle = (
    <button type="button" class="quiet" onClick={() => setAll(!all)}>
      {all ? text.cell.showLess : text.cell.showAll}
    </button>
  );
  if (all) {
    const starts = Array.from({ length: Math.ceil(height / CHUNK) }, (_, index) => index * CHUNK);
    return (
      <div class="long">
        <div class="gap">
          <span>{text.cell.lines(height)}</span>
          {toggle}
        </div>
        <div class="scroll" tabIndex={0} role="region" aria-label={text.cell.output}>
          {starts.map((start) => (
            <Lines key={start} class={`${name} chunk`} lines={lines} from={start} to={Math.min(start + CHUNK, height)} />
          ))}
        </div>
      </div>
    );
  }
  return (
    <div class="long">
      <Lines class={name} lines={lines} from={0} to={HEAD} />
      <div class="gap">
        <span>{text.cell.hidden(height - HEAD - TAIL)}</span>
        {toggle}
      </div>
      <Lines class={name} lines={lines} from={height - TAIL} to={height} />
    </div>
  );
}

interface LinesProps {
  class: string;
  lines: readonly Line[];
  from: number;
  to: number;
}

function Lines({ lines, from, to, ...rest }: LinesProps) {
  return (
    <pre class={`stream ${rest.class}`} dir="ltr" tabIndex={0} style={{ "--lines": to - from }}>
      {lines.slice(from, to).map((line, index) => (
        <LineView key={from + index} line={line} />
      ))}
    </pre>
  );
}

const LineView = memo(({ line }: { line: Line }) => {
  const only = line[0];
  if (!only) return <>{"\n"}</>;
  const length = line.reduce((sum, run) => sum + run.text.length, 0);
  const shown = length > LONGEST_LINE ? [{ ...only, text: `${plain(line).slice(0, LONGEST_LINE)} …` }] : line;
  return (
    <>
      {shown.map(styled)}
      {"\n"}
    </>
  );
});

function styled({ text: content, style }: Run) {
  const name = classes(style);
  if (!name && !style.colour && !style.ground) return content;
  return (
    <span class={name || undefined} style={ownColours(style)}>
      {content}
    </span>
  );
}

function ownColours({ colour, ground }: Style): Record<string, string> | undefined {
  // Made for one theme, a colour must be readable in the other one, too.
  const readable = `color-mix(in srgb, ${colour} 55%, var(--ink))`;
  const own = {
    ...(colour.startsWith("rgb") && { color: ground ? colour : readable }),
    ...(ground.startsWith("rgb") && { background: ground }),
  };
  return Object.keys(own).length ? own : undefined;
}
