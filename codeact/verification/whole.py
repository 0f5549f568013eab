"""Restores stored texts and outputs to their full length: what is long was moved into blobs when it was stored."""

from collections.abc import Sequence

import msgspec

from codeact.concurrency.offloop import off_loop
from codeact.exports.inline import whole_output
from codeact.store.blobs import URL
from codeact.store.records import Blob
from codeact.store.references import sha256_of
from codeact.store.whole_text import SHORTENED, GetBlob, whole_text
from codeact.verification.errors import NotVerifiable
from sandbox_pool import json_size
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, Stream

__all__ = ["whole_outputs"]

Output = Stream | DisplayData | ExecuteResult | Error

MOST_BYTES = 64_000_000
"""Limit for what is loaded for the outputs of one block."""
MOST_VALUES, DEEPEST = 200_000, 100
"""Limits for outputs that were left out: values and levels of their JSON, before it is decoded."""
_outputs = msgspec.json.Decoder(list[Output])


async def whole_outputs(outputs: Sequence[Output], get: GetBlob) -> list[Output]:
    """Returns the outputs with what was moved into blobs, also outputs that were left out.

    Raises `NotFound`, and `NotVerifiable` if they are larger than outputs of code can be.
    """
    get = _bounded(get)
    whole: list[Output] = []
    for output in outputs:
        if isinstance(output, Stream) and (found := SHORTENED.fullmatch(output.text)) is not None:
            sha256 = sha256_of(found[1])
            assert sha256 is not None
            data = (await get(sha256)).data
            return [await _whole(each, get) for each in await off_loop(len(data), _decoded, data)]
        whole.append(await _whole(output, get))
    return whole


def _decoded(data: bytes) -> list[Output]:
    """Decodes outputs that were left out; an archive may have brought them. Raises `NotVerifiable`."""
    try:
        json_size.check(data, most=MOST_VALUES, depth=DEEPEST)
    except json_size.TooComplex as reason:
        raise NotVerifiable(
            f"The outputs that were left out are not compared: {reason}.", code="record_too_large"
        ) from None
    try:
        return _outputs.decode(data)
    except (ValueError, RecursionError):
        raise NotVerifiable("The outputs that were left out cannot be read.", code="record_gone") from None


def _bounded(get: GetBlob) -> GetBlob:
    """Counts what is loaded: any number of outputs can name the same blob, and code can write such names itself."""
    left = MOST_BYTES

    async def load(sha256: str) -> Blob:
        nonlocal left
        blob = await get(sha256)
        left -= len(blob.data)
        if left < 0:
            raise NotVerifiable(
                f"The outputs of one block have over {MOST_BYTES:,} bytes: they are not compared.",
                code="record_too_large",
            )
        return blob

    return load


async def _whole(output: Output, get: GetBlob) -> Output:
    match output:
        case Stream():
            return Stream(output.name, await whole_text(output.text, get))
        case Error():
            traceback = (await whole_text("\n".join(output.traceback), get)).split("\n")
            return Error(await whole_text(output.ename, get), await whole_text(output.evalue, get), traceback)
    blobs: dict[str, Blob] = {}
    for name in output.metadata.get(URL, {}).values():
        if (sha256 := sha256_of(name)) is not None:
            blobs[sha256] = await get(sha256)
    return await off_loop(sum(len(blob.data) for blob in blobs.values()), whole_output, output, blobs.get)
