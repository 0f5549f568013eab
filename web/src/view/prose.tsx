// The model's Markdown enters, as far as it has come; its blocks leave, the finished ones drawn once.

import { memo } from "./memo";
import { useLayoutEffect, useRef } from "preact/hooks";
import { Blocks, type Block, type CodeBlock } from "../core/blocks";
import { prose } from "../core/html";
import { Code } from "./code";
import { CopyButton } from "./controls";
import { text } from "../text";
import { linkFiles, type NamedFile } from "./written";

const GROUP = 32;
const NONE: readonly Block[] = [];

/** `files` are those that the answer's code wrote; `count` tells how many, since the list grows in place. */
export interface Written {
  files: readonly NamedFile[];
  count: number;
}

const NOTHING: Written = { files: [], count: 0 };

export function Prose({ source, written = NOTHING }: { source: string; written?: Written }) {
  const root = useRef<HTMLDivElement>(null);
  const blocks = useRef<Blocks>(null);
  const { finished, rest } = (blocks.current ??= new Blocks()).update(source);
  const last = finished.length - (finished.length % GROUP);
  // After the blocks have been drawn: their own effects come first.
  useLayoutEffect(() => linkFiles(root.current!, written.files), [source, written.count]);
  const starts = Array.from({ length: last / GROUP }, (_, index) => index * GROUP);
  return (
    <div class="prose" ref={root}>
      {starts.map((from) => (
        <Group key={from} finished={finished} from={from} rest={NONE} />
      ))}
      <Group key={last} finished={finished} from={last} rest={rest} />
    </div>
  );
}

interface GroupProps {
  finished: readonly Block[];
  from: number;
  rest: readonly Block[];
}

/** Some of the blocks, so that a long answer is not gone through for each token. */
const Group = memo(({ finished, from, rest }: GroupProps) => (
  <>
    {[...finished.slice(from, from + GROUP), ...rest].map((block, index) => (
      <BlockView key={index} kind={block.kind} source={block.text} language={block.kind === "code" ? block.language : ""} />
    ))}
  </>
));

interface BlockProps {
  kind: Block["kind"];
  source: string;
  language: string;
}

const BlockView = memo(({ kind, source, language }: BlockProps) =>
  kind === "code" ? <Fence kind="code" text={source} language={language} /> : <Markdown source={source} />,
);

let math: typeof import("./math") | null = null;

function Markdown({ source }: { source: string }) {
  const element = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    // Before it is painted, or a formula would flicker with every word that comes after it.
    const formulas = element.current!.querySelectorAll<HTMLElement>("[data-tex]");
    if (math) formulas.forEach(math.typeset);
    else if (formulas.length) void import("./math").then((loaded) => (math = loaded, formulas.forEach(math.typeset)));
    // A table may be wider than the page; who uses the keyboard scrolls it, too.
    for (const table of element.current!.querySelectorAll("table")) table.tabIndex = 0;
  }, [source]);
  return <div ref={element} class="block" dir="auto" dangerouslySetInnerHTML={{ __html: prose(source) }} />;
}

function Fence({ text: code, language }: CodeBlock) {
  return (
    <div class="fence">
      <div class="fence-bar">
        <span>{language}</span>
        <CopyButton label={text.cell.copy} value={() => code} />
      </div>
      <Code class="" code={code} language={language} />
    </div>
  );
}
