// The files that the user chooses leave; the button that asks for them comes from whoever shows it.

import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";

interface Props {
  onPick: (files: readonly File[]) => void;
  children: (choose: () => void) => ComponentChildren;
}

export function FilePicker({ onPick, children }: Props) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <input
        ref={input}
        type="file"
        multiple
        hidden
        onChange={({ currentTarget }) => {
          onPick([...(currentTarget.files ?? [])]);
          currentTarget.value = ""; // The same file may be chosen again.
        }}
      />
      {children(() => input.current!.click())}
    </>
  );
}
