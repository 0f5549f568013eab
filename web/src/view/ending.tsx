// How an answer ended, and what can be done with it: copy, ask again, rate, see what it took.

import { useState } from "preact/hooks";
import { ask, current } from "../session";
import { text } from "../text";
import type { Turn } from "../turn";
import { CopyButton, Dialog, IconButton } from "./controls";
import { LedgerView } from "./ledger";
import { useVerification, Verified, VerifyButton } from "./verified";

/** `changes` is another number whenever the turn has changed: a component with a state is drawn again for new values only. */
export function Ending({ turn, busy }: { turn: Turn; busy: boolean; changes: number }) {
  const { response } = turn.answer;
  const trouble = turn.failure || response?.error?.message;
  /** Not where it goes on after a decision. */
  const hasQuestion = turn.asked.text !== "" || turn.asked.attachments.length > 0;
  const [verification, verify] = useVerification(turn);
  const again = () => ask(turn.asked.text, turn.asked.attachments, turn.previousId);
  return (
    <>
      {trouble && (
        <div class="trouble" role="alert">
          <p>{trouble}</p>
          {hasQuestion && (
            <button type="button" class="button" disabled={busy} onClick={again}>
              {text.turn.retry}
            </button>
          )}
        </div>
      )}
      {!trouble && response && <Remark status={response.status} reason={response.incomplete_details?.reason ?? null} />}
      {response && (
        <div class="answer-tools">
          <CopyButton label={text.turn.copy} value={() => words(turn)} />
          {hasQuestion && <IconButton icon="again" label={text.turn.regenerate} disabled={busy} onClick={again} />}
          <Thumbs turn={turn} rating={turn.rating} />
          <VerifyButton turn={turn} running={verification.running} onClick={verify} />
          <LedgerView response={response} />
        </div>
      )}
      {verification.trouble && <p class="remark" role="alert">{verification.trouble}</p>}
      {verification.certificate && <Verified certificate={verification.certificate} />}
    </>
  );
}

function Thumbs({ turn, rating }: { turn: Turn; rating: Turn["rating"] }) {
  const [asking, setAsking] = useState<"up" | "down" | null>(null);
  const press = (pressed: "up" | "down") => () => {
    const next = rating === pressed ? null : pressed;
    void current.value.rate(turn, next, null);
    setAsking(next);
  };
  return (
    <>
      <IconButton icon="good" label={text.turn.good} pressed={rating === "up"} onClick={press("up")} />
      <IconButton icon="bad" label={text.turn.bad} pressed={rating === "down"} onClick={press("down")} />
      {asking && <Comment turn={turn} rating={asking} onDone={() => setAsking(null)} />}
    </>
  );
}

function Comment({ turn, rating, onDone }: { turn: Turn; rating: "up" | "down"; onDone: () => void }) {
  const [words, setWords] = useState("");
  const send = () => {
    if (words.trim()) void current.value.rate(turn, rating, words.trim());
    onDone();
  };
  return (
    <Dialog title={rating === "up" ? text.feedback.titleGood : text.feedback.title} onClose={onDone}>
      <form onSubmit={(event) => (event.preventDefault(), send())}>
        <label class="field">
          <span class="unseen">{text.feedback.placeholder}</span>
          <textarea
            rows={3}
            maxLength={4000}
            placeholder={text.feedback.placeholder}
            value={words}
            onInput={(event) => setWords(event.currentTarget.value)}
          />
        </label>
        <div class="buttons">
          <button type="submit" class="button primary" disabled={!words.trim()}>
            {text.feedback.send}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

function Remark({ status, reason }: { status: string; reason: string | null }) {
  if (status === "cancelled") return <p class="remark">{text.turn.stopped}</p>;
  if (reason === "steered") return null;
  if (reason) return <p class="remark">{text.turn.incomplete(reason)}</p>;
  return null;
}

/** The answer as Markdown, its code in fences. */
function words({ answer }: Turn): string {
  const parts = answer.parts.map((part) => {
    if (part?.kind === "prose") return part.text.trim();
    return part?.kind === "cell" ? `\`\`\`python\n${part.code.trimEnd()}\n\`\`\`` : "";
  });
  return parts.filter(Boolean).join("\n\n");
}
