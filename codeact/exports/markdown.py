"""Writes a conversation as Markdown, with code, outputs and images.

This takes up to a second for a large conversation: call it in a thread, not on the event loop.
"""

import re
from collections.abc import Sequence

from codeact.events import CodeInterpreterCall, ImageOutput, InputMessage, LogsOutput, Message
from codeact.exports.inline import GetBlob, inlined
from codeact.store.records import StoredResponse

__all__ = ["markdown"]


def markdown(title: str, thread: Sequence[StoredResponse], get_blob: GetBlob) -> bytes:
    """Returns the conversation as Markdown in UTF-8, with a heading for each question and answer.

    Images are included as `data:` URLs. Reasoning is left out.
    """
    parts = [f"# {title}"]
    for stored in thread:
        for message in stored.input:
            if isinstance(message, InputMessage) and message.role == "user":
                parts += ["## User", *_message(message, get_blob)]
        if stored.response.output:
            parts.append("## Assistant")
        for item in stored.response.output:
            match item:
                case Message():
                    parts.append("".join(part.text for part in item.content))
                case CodeInterpreterCall():
                    if item.continues is None:
                        parts.append(_fenced(item.code, "python"))
                    for output in item.outputs or ():
                        parts.append(_output(output, get_blob))
        if stored.response.error is not None:
            parts.append(f"*This answer failed: {stored.response.error.message}*")
    return ("\n\n".join(parts) + "\n").encode(errors="replace")


def _message(message: InputMessage, get_blob: GetBlob) -> list[str]:
    shown: list[str] = []
    for part in message.content:
        match part:
            case {"text": str(text)}:
                shown.append(text)
            case {"image_url": str(url)}:
                whole = inlined(url, get_blob)
                shown.append(f"![image]({whole})" if whole.startswith("data:image/") else f"<{url}>")
            case {"filename": str(name)}:
                shown.append(f"[{name}]")
    return shown


def _output(output: LogsOutput | ImageOutput, get_blob: GetBlob) -> str:
    if isinstance(output, LogsOutput):
        return _fenced(output.logs, "text")
    return f"![image]({inlined(output.url, get_blob)})"


def _fenced(text: str, language: str) -> str:
    """Returns the text in a fence that is longer than any run of backticks in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
