"""Outputs are restored from blobs to their full length, and no further."""

from collections.abc import Sequence
from hashlib import sha256

import msgspec
import pytest

from codeact.store.records import Blob
from codeact.verification import whole
from codeact.verification.errors import NotVerifiable
from codeact.verification.whole import whole_outputs
from sandbox_pool.outputs import Stream

pytestmark = pytest.mark.anyio


async def restored(data: bytes, outputs: Sequence[Stream]) -> list[object]:
    async def get(sha256: str) -> Blob:
        return Blob(data, "text/plain")

    return [*await whole_outputs(outputs, get)]


def naming(data: bytes, what: str = "characters", name: str = "stdout") -> Stream:
    blob = f"blob:{sha256(data).hexdigest()}"
    return Stream(name, f"\n[1 of 2 {what} are left out here; all of them: {blob}]\n")  # type: ignore[arg-type]


async def test_outputs_that_name_one_blob_again_and_again_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "MOST_BYTES", 1_000)
    data = b"x" * 100
    few = [Stream("stderr", "a"), Stream("stdout", "b" + naming(data).text)]
    assert await restored(data, few) == [few[0], Stream("stdout", "x" * 100)]
    with pytest.raises(NotVerifiable) as refused:
        await restored(data, [Stream("stdout", "b" + naming(data).text)] * 11)
    assert refused.value.code == "record_too_large"


async def test_left_out_outputs_that_are_none_are_refused() -> None:
    outputs = msgspec.json.encode([Stream("stdout", "x")])
    assert await restored(outputs, [naming(outputs, "outputs")]) == [Stream("stdout", "x")]
    with pytest.raises(NotVerifiable) as refused:
        await restored(b"[1]", [naming(b"[1]", "outputs")])
    assert refused.value.code == "record_gone"


async def test_left_out_outputs_of_too_many_values_are_refused_before_they_are_decoded() -> None:
    many = b'[{"output_type":"display_data","data":{},"metadata":{"a":[' + b"[]," * 200_000 + b"0]}}]"
    deep = b'[{"output_type":"display_data","data":{},"metadata":{"a":' + b"[" * 5_000 + b"]" * 5_000 + b"}}]"
    for hostile in (many, deep):
        with pytest.raises(NotVerifiable) as refused:
            await restored(hostile, [naming(hostile, "outputs")])
        assert refused.value.code == "record_too_large"
