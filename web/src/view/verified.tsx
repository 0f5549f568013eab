// Whether an answer's code gives the same outputs when it is run again: the button, and what came out.

import { useState } from "preact/hooks";
import { day, time } from "../format";
import { api, type Certificate, Failed } from "../net/api";
import { status } from "../session";
import { text } from "../text";
import type { Turn } from "../turn";
import { IconButton } from "./controls";

export interface Verification {
  certificate: Certificate | null;
  running: boolean;
  trouble: string;
}

/** The state of the button, and what runs the code again. */
export function useVerification(turn: Turn): [Verification, () => void] {
  const [state, setState] = useState<Verification>({ certificate: null, running: false, trouble: "" });
  const verify = () => {
    setState({ ...state, running: true, trouble: "" });
    api.verify(turn.id).then(
      (certificate) => setState({ certificate, running: false, trouble: "" }),
      (error: unknown) => {
        const trouble = (error instanceof Failed && error.message) || text.verify.failed;
        setState({ certificate: null, running: false, trouble });
      },
    );
  };
  return [state, verify];
}

/** Absent for answers without code, and for visitors of pages that embed the chat. */
export function VerifyButton({ turn, running, onClick }: { turn: Turn; running: boolean; onClick: () => void }) {
  if (!status.value?.verifies || !turn.answer.parts.some((part) => part?.kind === "cell")) return null;
  return <IconButton icon="verify" label={running ? text.verify.running : text.verify.label} disabled={running} onClick={onClick} />;
}

export function Verified({ certificate }: { certificate: Certificate }) {
  const at = new Date(certificate.verified_at * 1000).getTime();
  const when = `${day(at, true)}, ${time(at)}`;
  if (certificate.result === "equal") {
    return <p class="remark" role="status">{text.verify.equal(certificate.outputs, when)}</p>;
  }
  const first = certificate.differences.find(({ earlier }) => !earlier)!;
  return (
    <div class="remark" role="status">
      <p>{text.verify.differs(first.block, first.output ?? null, when)}</p>
      {first.expected !== undefined && (
        <dl class="difference">
          <dt>{text.verify.expected}</dt>
          <dd><pre>{first.expected}</pre></dd>
          <dt>{text.verify.found}</dt>
          <dd><pre>{first.found}</pre></dd>
        </dl>
      )}
    </div>
  );
}
