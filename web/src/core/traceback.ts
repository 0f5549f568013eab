// IPython's traceback enters (one text per frame), what is worth seeing of it leaves, the rest in folds.

export type Stretch =
  | { readonly kind: "shown"; readonly text: string }
  | { readonly kind: "folded"; readonly text: string; readonly frames: number };

const ESCAPES = /\x1b\[[0-9;]*m/g;
const LIBRARY = /^\s*File\s+\S*(?:\/(?:site|dist)-packages\/|\/lib(?:64)?\/python|<frozen )/;
const RULE = /^-{20,}\s*$/;

/** Frames of libraries are folded, neighbours into one; the user's own frames and the error itself are shown. */
export function stretches(traceback: readonly string[]): Stretch[] {
  const found: Stretch[] = [];
  for (const text of traceback) {
    const plain = text.replace(ESCAPES, "");
    if (RULE.test(plain)) continue;
    const last = found.at(-1);
    if (!LIBRARY.test(plain)) {
      if (last?.kind === "shown") found[found.length - 1] = { kind: "shown", text: `${last.text}\n${text}` };
      else found.push({ kind: "shown", text });
    } else if (last?.kind === "folded") {
      found[found.length - 1] = { kind: "folded", text: `${last.text}\n${text}`, frames: last.frames + 1 };
    } else {
      found.push({ kind: "folded", text, frames: 1 });
    }
  }
  return found;
}
