"""The standard's view of what happened: notebook outputs and counted tokens enter, Responses API values leave."""

import base64
import re

from codeact import events as e
from codeact.models import Usage
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, Stream

__all__ = ["response_usage", "standard_outputs"]

ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
IMAGES = ("image/png", "image/jpeg", "image/gif", "image/svg+xml")


def response_usage(usage: Usage) -> e.ResponseUsage:
    return e.ResponseUsage(
        input_tokens=usage.input_tokens,
        input_tokens_details=e.InputTokensDetails(cached_tokens=usage.cached_tokens),
        output_tokens=usage.output_tokens,
        output_tokens_details=e.OutputTokensDetails(reasoning_tokens=usage.reasoning_tokens),
        total_tokens=usage.input_tokens + usage.output_tokens,
        cost_usd=usage.cost_usd,
        estimated=usage.estimated,
    )


def standard_outputs(
    outputs: list[Stream | DisplayData | ExecuteResult | Error],
) -> list[e.LogsOutput | e.ImageOutput]:
    """The standard's view: neighbouring texts as one `logs`, each picture as one `image`."""
    standard: list[e.LogsOutput | e.ImageOutput] = []

    def log(text: str) -> None:
        text = ANSI.sub("", text)
        last = standard[-1] if standard else None
        if isinstance(last, e.LogsOutput):
            separator = "" if last.logs.endswith("\n") or not last.logs else "\n"
            standard[-1] = e.LogsOutput(last.logs + separator + text)
        elif text:
            standard.append(e.LogsOutput(text))

    for output in outputs:
        match output:
            case Stream():
                log(output.text)
            case Error():
                log("\n".join(output.traceback) or f"{output.ename}: {output.evalue}")
            case DisplayData() | ExecuteResult():
                image = next((mime for mime in IMAGES if isinstance(output.data.get(mime), str)), None)
                if image:
                    standard.append(e.ImageOutput(_data_url(image, output.data[image])))
                elif text := output.data.get("text/plain"):
                    log(str(text))
    return standard


def _data_url(mime: str, content: str) -> str:
    if mime == "image/svg+xml":
        content = base64.b64encode(content.encode()).decode()
    return f"data:{mime};base64,{content.replace(chr(10), '')}"
