import { describe, expect, it } from "vitest";
import { Answer, type Asking } from "../src/core/answer";
import { decided, waitingAfter } from "../src/core/approval";
import { asked } from "../src/core/asked";
import type { Input, Response } from "../src/wire";

const cell = (waits: string[]) => ({
  type: "code_interpreter_call", id: "ci_1", container_id: "c", code: "1", status: "completed", "codeact:notebook_outputs": [],
  "codeact:result": null, "codeact:tagged": true, "codeact:waits_for": waits, outputs: [],
});
const call = { type: "mcp_approval_request", id: "mcpr_1", server_label: "shop", name: "buy", arguments: "{}", "codeact:reasons": ["calls"] };
const code = { type: "codeact:approval_request", id: "apr_1", code: "print(1)", reasons: ["code"] };

function answered(output: object[], status = "completed"): Answer {
  const answer = new Answer();
  answer.restore({ id: "resp_1", status, output, "codeact:notices": [] } as unknown as Response);
  return answer;
}

describe("what waits", () => {
  it("is what the last cell waits for, whichever answer asked for it", () => {
    const first = answered([cell(["mcpr_1", "apr_1"]), call, code]);
    expect(waitingAfter([first]).map(({ id, of, name }) => [id, of, name])).toEqual([["mcpr_1", "call", "shop.buy"], ["apr_1", "code", ""]]);
    expect(waitingAfter([first, answered([cell(["mcpr_1"])])]).map(({ id }) => id)).toEqual(["mcpr_1"]);
    expect(waitingAfter([first, answered([cell([])])])).toEqual([]);
    expect(waitingAfter([answered([cell(["apr_1"]), code], "cancelled")])).toEqual([]);
    expect(waitingAfter([])).toEqual([]);
  });

  it("is decided in the form of its kind, and read back", () => {
    const [of_call, of_code] = [answered([call]).parts[0], answered([code]).parts[0]] as Asking[];
    const changed = decided(of_call!, { approve: true, edited: '{"a": 1}', always: true });
    expect(changed).toEqual({
      type: "mcp_approval_response", approval_request_id: "mcpr_1", approve: true, "codeact:arguments": '{"a": 1}', "codeact:scope": "conversation",
    });
    const rejected = decided(of_code!, { approve: false, reason: "no" });
    expect(rejected).toEqual({ type: "codeact:approval_response", approval_request_id: "apr_1", approve: false, reason: "no" });
    const stored = [changed, { ...rejected, code: null, scope: "once" }] as unknown as Input[];
    expect(asked(stored).decisions).toEqual([{ approve: true, edited: '{"a": 1}', always: true }, { approve: false, reason: "no" }]);
  });
});
