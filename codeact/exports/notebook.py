"""A conversation as a Jupyter notebook: stored responses enter, the JSON of an .ipynb file leaves (nbformat 4.5)."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from codeact.events import CodeInterpreterCall, InputMessage, Message
from codeact.exports.inline import GetBlob, data_url, whole_output
from codeact.store.records import StoredResponse
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, Stream

__all__ = ["notebook"]

DATA_URL = re.compile(r"data:(image/[a-z0-9.+-]+);base64,(.*)", re.DOTALL)
KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


async def notebook(title: str, thread: Sequence[StoredResponse], get_blob: GetBlob) -> bytes:
    """Prose as Markdown cells, blocks of code as code cells with their outputs and images. Reasoning is left out."""
    cells = [_markdown(f"# {title}")]
    for stored in thread:
        said = (message for message in stored.input if isinstance(message, InputMessage))
        cells += [await _question(message, get_blob) for message in said if message.role == "user"]
        for item in stored.response.output:
            match item:
                case Message():
                    cells.append(_markdown("".join(part.text for part in item.content)))
                case CodeInterpreterCall():
                    cell = await _code(item, get_blob)
                    if item.continues is not None and cells[-1]["cell_type"] == "code":
                        cells[-1]["outputs"] += cell["outputs"]
                    else:
                        cells.append(cell)
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    document = {"cells": cells, "metadata": KERNEL, "nbformat": 4, "nbformat_minor": 5}
    return msgspec.json.format(msgspec.json.encode(document), indent=1)


def _markdown(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text}


async def _question(message: InputMessage, get_blob: GetBlob) -> dict[str, Any]:
    """What the user said, as a quotation; images become attachments of the cell, as Jupyter keeps them."""
    lines: list[str] = []
    attachments: dict[str, Any] = {}
    for part in message.content:
        match part:
            case {"text": str(text)}:
                lines += text.splitlines()
            case {"image_url": str(url)}:
                image = DATA_URL.fullmatch(await data_url(url, get_blob))
                if image is None:
                    lines.append(f"<{url}>")
                    continue
                name = f"image-{len(attachments)}"
                attachments[name] = {image[1]: image[2]}
                lines.append(f"![](attachment:{name})")
            case {"filename": str(name)}:
                lines.append(f"[{name}]")
    cell = _markdown("\n".join(f"> {line}" for line in ["**User**", "", *lines]))
    return cell | ({"attachments": attachments} if attachments else {})


async def _code(call: CodeInterpreterCall, get_blob: GetBlob) -> dict[str, Any]:
    count = call.result.execution_count if call.result is not None else None
    outputs = [_output(await whole_output(output, get_blob), count) for output in call.notebook_outputs]
    return {"cell_type": "code", "metadata": {}, "source": call.code, "execution_count": count, "outputs": outputs}


def _output(output: Stream | DisplayData | ExecuteResult | Error, count: int | None) -> dict[str, Any]:
    """All that nbformat wants, also what our own encoding leaves out as a default."""
    wire: dict[str, Any] = msgspec.to_builtins(output)
    wire.pop("display_id", None)
    if isinstance(output, DisplayData | ExecuteResult):
        wire["metadata"] = dict(output.metadata)
    if isinstance(output, ExecuteResult):
        wire["execution_count"] = output.execution_count or count
    return wire
