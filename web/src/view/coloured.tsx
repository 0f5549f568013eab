// Code enters, as far as it has come; it leaves in colour, each stretch of it coloured once.

import { useRef } from "preact/hooks";
import { Growing } from "../core/growing";
import { coloured } from "../core/html";
import { memo } from "./memo";

export const Coloured = memo(({ code, language }: { code: string; language: string }) => {
  const growing = useRef<Growing>(null);
  const { finished, rest } = (growing.current ??= new Growing(language)).update(code);
  return (
    <code>
      {[...finished, rest].map((text, index) => (
        <Stretch key={index} text={text} language={language} />
      ))}
    </code>
  );
});

const Stretch = memo(({ text, language }: { text: string; language: string }) => (
  <span dangerouslySetInnerHTML={{ __html: coloured(text, language) }} />
));
