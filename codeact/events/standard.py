"""Converts notebook outputs and token counts into the values that the Responses API defines."""

import base64

from codeact import events as e
from codeact.ansi import without_sequences
from codeact.model import Usage
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, Stream

__all__ = ["response_usage", "standard_outputs", "terminal_event"]

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
    """Returns the outputs as the Responses API defines them: adjacent texts as one `logs`, each picture as one `image`.

    Text has no ANSI codes. A rich value without a picture is given by its `text/plain`.
    """
    standard: list[e.LogsOutput | e.ImageOutput] = []
    texts: list[str] = []

    def log(text: str) -> None:
        text = without_sequences(text)
        if texts and not texts[-1].endswith("\n"):
            texts.append("\n")
        if text:
            texts.append(text)

    def end_of_logs() -> None:
        if texts:
            standard.append(e.LogsOutput("".join(texts)))
            texts.clear()

    for output in outputs:
        match output:
            case Stream():
                log(output.text)
            case Error():
                log("\n".join(output.traceback) or f"{output.ename}: {output.evalue}")
            case DisplayData() | ExecuteResult():
                image = next((mime for mime in IMAGES if isinstance(output.data.get(mime), str)), None)
                if image:
                    end_of_logs()
                    standard.append(e.ImageOutput(_data_url(image, output.data[image])))
                elif text := output.data.get("text/plain"):
                    log(str(text))
    end_of_logs()
    return standard


def _data_url(mime: str, content: str) -> str:
    if mime == "image/svg+xml":
        content = base64.b64encode(content.encode()).decode()
    return f"data:{mime};base64,{content.replace(chr(10), '')}"


def terminal_event(response: e.Response) -> e.TerminalEvent:
    """Returns the event that ends the stream of `response`, according to its status."""
    match response.status:
        case "completed":
            return e.ResponseCompleted(response=response)
        case "failed":
            return e.ResponseFailed(response=response)
        case _:
            return e.ResponseIncomplete(response=response)
