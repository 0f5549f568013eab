"""Writes a conversation as a Jupyter notebook (nbformat 4.5).

This takes up to a second for a large conversation: call it in a thread, not on the event loop.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import msgspec

from codeact.data_urls import image_of
from codeact.events import CodeInterpreterCall, InputMessage, Message
from codeact.events.certificates import Certificate
from codeact.exports.inline import GetBlob, inlined, whole_output
from codeact.store.records import StoredResponse
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, Stream

__all__ = ["notebook"]

KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def notebook(
    title: str,
    thread: Sequence[StoredResponse],
    get_blob: GetBlob,
    certificates: Mapping[str, Certificate] = MappingProxyType({}),
) -> bytes:
    """Returns the notebook as JSON: prose as Markdown cells, code as code cells with their outputs and images.

    Reasoning is left out. `certificates` are those of the answers, by the ids of the responses: each is a cell below
    its answer, and the notebook's metadata has all of it under `codeact`.
    """
    cells = [_markdown(f"# {title}")]
    for stored in thread:
        messages = (message for message in stored.input if isinstance(message, InputMessage))
        cells += [_question(message, get_blob) for message in messages if message.role == "user"]
        for item in stored.response.output:
            match item:
                case Message():
                    cells.append(_markdown("".join(part.text for part in item.content)))
                case CodeInterpreterCall():
                    cell = _code(item, get_blob)
                    if item.continues is not None and cells[-1]["cell_type"] == "code":
                        cells[-1]["outputs"] += cell["outputs"]
                        cells[-1]["source"] = item.code or cells[-1]["source"]
                    else:
                        cells.append(cell)
        if (certificate := certificates.get(stored.response.id)) is not None:
            cells.append(_markdown(_verified(certificate)))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    of_thread = [certificates[stored.response.id] for stored in thread if stored.response.id in certificates]
    metadata = KERNEL | ({"codeact": {"certificates": of_thread}} if of_thread else {})
    document = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return msgspec.json.format(msgspec.json.encode(document), indent=1)


def _markdown(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def _verified(certificate: Certificate) -> str:
    day = datetime.fromtimestamp(certificate.verified_at, UTC).isoformat(timespec="seconds")
    what = f"{certificate.outputs} outputs of {certificate.blocks} blocks of code"
    if certificate.result == "equal":
        return f"*Verified at {day} by codeact {certificate.version}: run again, {what} were equal.*"
    block = next(difference.block for difference in certificate.differences if not difference.earlier)
    return f"*Run again at {day} by codeact {certificate.version}: of {what}, some differ, first in block {block}.*"


def _question(message: InputMessage, get_blob: GetBlob) -> dict[str, Any]:
    """Returns a cell that quotes the user's message; images become attachments of the cell, as in Jupyter."""
    lines: list[str] = []
    attachments: dict[str, Any] = {}
    for part in message.content:
        match part:
            case {"text": str(text)}:
                lines += text.splitlines()
            case {"image_url": str(url)}:
                image = image_of(inlined(url, get_blob))
                if image is None:
                    lines.append(f"<{url}>")
                    continue
                name = f"image-{len(attachments)}"
                attachments[name] = {image.media_type: image.base64}
                lines.append(f"![](attachment:{name})")
            case {"filename": str(name)}:
                lines.append(f"[{name}]")
    cell = _markdown("\n".join(f"> {line}" for line in ["**User**", "", *lines]))
    return cell | ({"attachments": attachments} if attachments else {})


def _code(call: CodeInterpreterCall, get_blob: GetBlob) -> dict[str, Any]:
    count = call.result.execution_count if call.result is not None else None
    outputs = [_output(whole_output(output, get_blob), count) for output in call.notebook_outputs]
    return {"cell_type": "code", "metadata": {}, "source": call.code, "execution_count": count, "outputs": outputs}


def _output(output: Stream | DisplayData | ExecuteResult | Error, count: int | None) -> dict[str, Any]:
    """Returns an output with all fields that nbformat requires; our own encoding omits default values."""
    if isinstance(output, Stream | Error):
        return msgspec.to_builtins(output)  # type: ignore[no-any-return]
    kind = "display_data" if isinstance(output, DisplayData) else "execute_result"
    wire: dict[str, Any] = {"output_type": kind, "data": dict(output.data), "metadata": dict(output.metadata)}
    if isinstance(output, ExecuteResult):
        wire["execution_count"] = output.execution_count or count
    return wire
