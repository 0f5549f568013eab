// Whether the steps of an answer are folded: their code, texts and tracebacks. The page around the chat sets it.

import { signal } from "@preact/signals";

export const folds = signal(false);
