// A response enters; what it took, in time, tokens and money, leaves: one quiet line that opens.

import { useId } from "preact/hooks";
import { number } from "../format";
import { text } from "../text";
import type { Ledger, Response } from "../wire";
import { duration } from "./cell";

export function LedgerView({ response }: { response: Response }) {
  const id = useId().replace(/\W/g, "");
  const { "codeact:ledger": ledger, usage } = response;
  const short = [
    ledger.total_s !== null && duration(ledger.total_s),
    usage && usage.total_tokens > 0 && text.ledger.tokens(usage.total_tokens),
    usage?.["codeact:cost_usd"] && money(usage["codeact:cost_usd"]),
  ].filter(Boolean);
  if (!short.length) return null;
  return (
    <div class="ledger">
      <button type="button" class="quiet" popovertarget={id} aria-label={`${text.ledger.label}: ${short.join(", ")}`}>
        {short.join(" · ")}
      </button>
      <div id={id} popover="auto" class="card" role="dialog" aria-label={text.ledger.label}>
        <h2>{text.ledger.label}</h2>
        <Times ledger={ledger} />
        <dl>
          <Row name={text.ledger.model} value={response.model} />
          {usage && <Row name={text.ledger.tokensIn} value={tokensIn(usage)} />}
          {usage && <Row name={text.ledger.tokensOut} value={tokensOut(usage)} />}
          {usage?.["codeact:cost_usd"] ? <Row name={text.ledger.cost} value={money(usage["codeact:cost_usd"])} /> : null}
        </dl>
      </div>
    </div>
  );
}

const STEPS = [
  ["sandbox", "sandbox_wait_s"],
  ["firstToken", "first_token_s"],
  ["code", "code_detected_s"],
  ["firstOutput", "first_output_s"],
  ["total", "total_s"],
] as const;

function Times({ ledger }: { ledger: Ledger }) {
  const total = ledger.total_s || 1;
  const steps = STEPS.filter(([, field]) => ledger[field] !== null);
  return (
    <ol class="times">
      {steps.map(([name, field]) => (
        <li>
          <span>{text.ledger[name]}</span>
          <span class="bar"><i style={{ width: `${Math.min(100, (100 * ledger[field]!) / total)}%` }} /></span>
          <span class="time">{duration(ledger[field]!)}</span>
        </li>
      ))}
    </ol>
  );
}

function Row({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

type Usage = NonNullable<Response["usage"]>;

function tokensIn({ input_tokens, input_tokens_details: { cached_tokens }, ...usage }: Usage): string {
  const more = [cached_tokens && text.ledger.cached(cached_tokens), usage["codeact:estimated"] && text.ledger.estimated];
  return [number(input_tokens), ...more.filter(Boolean)].join(", ");
}

function tokensOut({ output_tokens, output_tokens_details: { reasoning_tokens } }: Usage): string {
  const more = reasoning_tokens ? [text.ledger.reasoning(reasoning_tokens)] : [];
  return [number(output_tokens), ...more].join(", ");
}

function money(usd: number): string {
  return `$${usd < 0.01 ? usd.toFixed(4) : usd.toFixed(2)}`;
}
