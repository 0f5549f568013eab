// The model's Markdown enters, as far as it has come; its blocks leave, the finished ones drawn once.

import { memo } from "./memo";
import { useEffect, useRef } from "preact/hooks";
import { Blocks, type Block, type CodeBlock } from "../core/blocks";
import { coloured, prose } from "../core/html";
import { CopyButton } from "./controls";
import { text } from "../text";

export function Prose({ source }: { source: string }) {
  const blocks = useRef<Blocks>(null);
  const { finished, rest } = (blocks.current ??= new Blocks()).update(source);
  return (
    <div class="prose">
      {[...finished, ...rest].map((block, index) => (
        <BlockView key={index} kind={block.kind} source={block.text} language={block.kind === "code" ? block.language : ""} />
      ))}
    </div>
  );
}

interface BlockProps {
  kind: Block["kind"];
  source: string;
  language: string;
}

const BlockView = memo(({ kind, source, language }: BlockProps) =>
  kind === "code" ? <Fence kind="code" text={source} language={language} /> : <Markdown source={source} />,
);

function Markdown({ source }: { source: string }) {
  const element = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const formulas = element.current!.querySelectorAll<HTMLElement>("[data-tex]");
    if (formulas.length) void import("./math").then(({ typeset }) => formulas.forEach(typeset));
  }, [source]);
  return <div ref={element} class="block" dangerouslySetInnerHTML={{ __html: prose(source) }} />;
}

function Fence({ text: code, language }: CodeBlock) {
  return (
    <div class="fence">
      <div class="fence-bar">
        <span>{language}</span>
        <CopyButton label={text.cell.copy} value={() => code} />
      </div>
      <pre tabIndex={0}>
        <code dangerouslySetInnerHTML={{ __html: coloured(code, language) }} />
      </pre>
    </div>
  );
}
