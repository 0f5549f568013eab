// Code as it is shown in a step and in a text: long code in a box that follows its end, until all of it is asked for.

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { text } from "../text";
import { Coloured } from "./coloured";
import { memo } from "./memo";

/** Longer code is shown in the box. */
const SHOWN_LINES = 40;

interface Props {
  class: string;
  code: string;
  language: string;
}

export const Code = memo(({ code, language, ...rest }: Props) => {
  const element = useRef<HTMLPreElement>(null);
  const [all, setAll] = useState(false);
  const count = lines(code);
  const boxed = count > SHOWN_LINES && !all;
  // Only what grows in front of the reader has an end to follow; stored code begins at its beginning.
  const before = useRef(count);
  useLayoutEffect(() => {
    if (boxed && before.current !== count) element.current!.scrollTop = element.current!.scrollHeight;
    before.current = count;
  }, [code, boxed]);
  return (
    <>
      <pre ref={element} class={rest.class} dir="ltr" tabIndex={0} data-boxed={boxed || undefined}>
        <Coloured key={language} code={code} language={language} />
      </pre>
      {boxed && (
        <button type="button" class="quiet all-lines" onClick={() => setAll(true)}>
          {text.cell.allLines(count)}
        </button>
      )}
    </>
  );
});

/** Goes from line end to line end: code that streams is counted with each token. */
export function lines(code: string): number {
  let count = 1;
  for (let at = code.indexOf("\n"); at >= 0; at = code.indexOf("\n", at + 1)) count++;
  return count;
}
