// What waits for the user's approval, and the decisions about it as items of a request.

import type { Answer, Asking, AnswerPart } from "./answer";

export interface Decision {
  approve: boolean;
  /** Why it is rejected. */
  reason?: string;
  /** What happens instead: code, or a call's arguments as JSON. */
  edited?: string;
  /** Not asked about again in this conversation. */
  always?: boolean;
}

const isCell = (part: AnswerPart | null) => part?.kind === "cell";

/** What waits after the last of these answers; it may have been asked for in an earlier one. */
export function waitingAfter(answers: readonly Answer[]): readonly Asking[] {
  const last = answers.at(-1);
  if (!last?.ended || last.response?.status !== "completed") return [];
  const cell = last.parts.findLast(isCell);
  const open = new Set(cell?.kind === "cell" ? cell.waitsFor : []);
  if (!open.size) return [];
  return answers.flatMap(({ parts }) => parts.filter((part): part is Asking => part?.kind === "asking" && open.has(part.id)));
}

export function decided(asking: Asking, { approve, reason, edited, always }: Decision): Record<string, unknown> {
  const mark = asking.of === "call" ? "codeact:" : "";
  return {
    type: asking.of === "call" ? "mcp_approval_response" : "codeact:approval_response",
    approval_request_id: asking.id,
    approve,
    ...(reason && { reason }),
    ...(edited !== undefined && { [asking.of === "call" ? "codeact:arguments" : "code"]: edited }),
    ...(always && { [`${mark}scope`]: "conversation" }),
  };
}
