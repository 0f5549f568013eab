"""Turns a response into the steps of a transcript: text, code with its output, calls, and the error that ended it."""

from collections.abc import Iterator, Sequence

from codeact import events as e
from codeact.evals.record import Step
from codeact.observations.plaintext import excerpt

__all__ = ["steps_of"]

STEP_CHARS = 20_000
IMAGE_CHARS = 400_000
MAX_IMAGES = 4
MAX_STEPS = 500


def steps_of(question: str, response: e.Response, images: Sequence[str] = ()) -> list[Step]:
    """Returns the question and the steps of its answer; long texts are cut in the middle.

    `images` are `data:` URLs of what the code displayed; those that are not too large go with the last block of code.
    """
    steps = [Step(kind="question", text=excerpt(question, STEP_CHARS)), *_steps(response)][:MAX_STEPS]
    small = [url for url in images if len(url) <= IMAGE_CHARS][:MAX_IMAGES]
    if small and (blocks := [step for step in steps if step.kind == "code"]):
        blocks[-1].images = small
    if response.error is not None:
        steps.append(Step(kind="error", text=f"{response.error.code}: {response.error.message}", failed=True))
    return steps


def _steps(response: e.Response) -> Iterator[Step]:
    for item in response.output:
        match item:
            case e.Message():
                yield Step(kind="answer", text=excerpt("".join(part.text for part in item.content), STEP_CHARS))
            case e.Reasoning():
                text = "".join(part.text for part in item.content or ())
                yield Step(kind="reasoning", text=excerpt(text, STEP_CHARS))
            case e.CodeInterpreterCall():
                yield Step(
                    kind="code",
                    text=excerpt(item.code, STEP_CHARS),
                    output=excerpt(item.observation or "", STEP_CHARS),
                    failed=item.result is not None and item.result.status != "ok",
                )
            case e.McpCall():
                output = str(item.error) if item.error is not None else item.output or ""
                yield Step(
                    kind="call",
                    text=excerpt(f"{item.name}({item.arguments})", STEP_CHARS),
                    output=excerpt(output, STEP_CHARS),
                    failed=item.error is not None,
                )
            case _:
                pass
