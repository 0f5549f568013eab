"""Offloading: what an item contains afterwards, and what was moved to blobs."""

import base64
import hashlib
import json
import os

import msgspec
import pytest

from codeact import events as e
from codeact.ids import new_id
from codeact.store import Store, offload
from sandbox_pool import outputs as o

pytestmark = pytest.mark.anyio

PNG = os.urandom(3_000)
PNG_TEXT = base64.encodebytes(PNG).decode()
PNG_URL = f"blob:{hashlib.sha256(PNG).hexdigest()}"


class Blobs(dict[str, tuple[bytes, str]]):
    """Collects blobs. Tests pass its `put` to `offload`."""

    calls = 0

    async def put(self, data: bytes, media_type: str) -> str:
        self.calls += 1
        sha256 = hashlib.sha256(data).hexdigest()
        self[sha256] = data, media_type
        return sha256

    def at(self, url: str) -> tuple[bytes, str]:
        return self[url.removeprefix("blob:")]


def call(*outputs: o.Stream | o.DisplayData | o.ExecuteResult | o.Error, **fields: object) -> e.CodeInterpreterCall:
    return e.CodeInterpreterCall(
        id=new_id("ci"),
        container_id="cntr_1",
        notebook_outputs=list(outputs),
        **fields,  # type: ignore[arg-type]
    )


async def test_images_leave_and_leave_their_url() -> None:
    blobs = Blobs()
    item = call(
        o.ExecuteResult({"image/png": PNG_TEXT, "text/plain": "<Figure>"}, {"image/png": {"width": 3}}, 7),
        outputs=[e.ImageOutput(f"data:image/png;base64,{PNG_TEXT.replace(chr(10), '')}")],
    )
    await offload(item, blobs.put)
    shown = item.notebook_outputs[0]
    assert isinstance(shown, o.ExecuteResult)
    assert shown.data == {"text/plain": "<Figure>"}
    assert shown.metadata == {"image/png": {"width": 3}, "codeact:url": {"image/png": PNG_URL}}
    assert shown.execution_count == 7
    assert item.outputs == [e.ImageOutput(PNG_URL)]
    assert blobs.at(PNG_URL) == (PNG, "image/png")
    assert blobs.calls == 1, "the same image in both views is put once"


@pytest.mark.parametrize("mime", ["image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf", "audio/wav"])
async def test_every_binary_type_leaves(mime: str) -> None:
    blobs = Blobs()
    item = call(o.DisplayData({mime: PNG_TEXT}))
    await offload(item, blobs.put)
    assert item.notebook_outputs == [o.DisplayData({}, {"codeact:url": {mime: PNG_URL}})]
    assert blobs.at(PNG_URL) == (PNG, mime)


async def test_what_is_small_stays_as_it_is() -> None:
    blobs = Blobs()
    outputs = [
        o.Stream("stdout", "x" * 65_536),
        o.Error("ValueError", "no", ["a", "b"]),
        o.DisplayData({"image/svg+xml": "<svg/>", "application/json": {"a": [1]}}, {"isolated": True}, "id"),
    ]
    item = call(*outputs, code="1", observation="y" * 200_000, outputs=[e.LogsOutput("2")])
    before = msgspec.to_builtins(item)
    await offload(item, blobs.put)
    assert msgspec.to_builtins(item) == before
    assert not blobs


async def test_a_long_text_keeps_its_head_and_its_tail_and_says_where_all_of_it_is() -> None:
    blobs = Blobs()
    text = "".join(f"line {n} é\n" for n in range(20_000))
    item = call(o.Stream("stdout", text), outputs=[e.LogsOutput(text)])
    await offload(item, blobs.put)
    cut = item.notebook_outputs[0]
    assert isinstance(cut, o.Stream)
    assert cut.name == "stdout"
    head, line, tail = cut.text[:32_000], cut.text[32_000:-32_000], cut.text[-32_000:]
    assert text.startswith(head)
    assert text.endswith(tail)
    (sha256,) = blobs
    left_out = f"{len(text) - 64_000:,} of {len(text):,} characters are left out here"
    assert line == f"\n[{left_out}; all of them: blob:{sha256}]\n"
    assert blobs[sha256] == (text.encode(), "text/plain")
    assert item.outputs == [e.LogsOutput(cut.text)]
    again = msgspec.to_builtins(item)
    await offload(item, blobs.put)
    assert msgspec.to_builtins(item) == again


async def test_long_texts_are_cut_wherever_code_can_put_them() -> None:
    blobs = Blobs()
    long = "z" * 10_000_000
    error = o.Error(long, long, [long, "last line"])
    item = call(
        error,
        o.Error("E", "e", ["short line"] * 100_000),
        o.DisplayData({"text/plain": long, "text/html": long, "text/latex": long}, {"note": long}),
        o.DisplayData({"application/javascript": long, "image/svg+xml": long, "image/png": "é" + long, "x": long}),
        o.DisplayData({"application/vnd.plotly.v1+json": {"data": [long]}}),
        code=long,
        outputs=[e.LogsOutput(long), e.ImageOutput(long), e.ImageOutput("data:image/png;base64,x" + long)],
        result=o.ExecutionResult(status="error", duration_s=1.0, error=error),
    )
    await offload(item, blobs.put)
    assert len(e.encode(item)) < 1_000_000
    plain, moved, plotly = item.notebook_outputs[2:]
    assert isinstance(plain, o.DisplayData)
    assert set(plain.metadata["codeact:url"]) == {"text/plain", "text/html", "text/latex"}
    assert all(blobs.at(url)[0] == long.encode() for url in plain.metadata["codeact:url"].values())
    assert isinstance(moved, o.DisplayData)
    assert moved.data == {}, "half a picture or half a script is of no use"
    assert blobs.at(moved.metadata["codeact:url"]["image/svg+xml"])[0] == long.encode()
    assert isinstance(plotly, o.DisplayData)
    data, media_type = blobs.at(plotly.metadata["codeact:url"]["application/vnd.plotly.v1+json"])
    assert json.loads(data) == {"data": [long]}
    assert media_type == "application/json"
    assert isinstance(item.notebook_outputs[0], o.Error)
    assert item.notebook_outputs[0].traceback[-1] == "last line"


async def test_long_prose_and_thinking_are_cut() -> None:
    for item in (
        e.Message(id="msg_1", content=[e.OutputText("p" * 100_000)]),
        e.Reasoning(id="rs_1", content=[e.ReasoningTextPart("p" * 100_000)]),
    ):
        blobs = Blobs()
        await offload(item, blobs.put)
        assert len(item.content[0].text) < 65_536
        assert [data for data, _ in blobs.values()] == [b"p" * 100_000]


@pytest.mark.parametrize(
    ("count", "size_chars"), [(100_000, 10), (1_000, 60_000)], ids=["very many", "each just short enough"]
)
async def test_of_too_many_outputs_the_first_and_the_last_stay(count: int, size_chars: int) -> None:
    blobs = Blobs()
    item = call(
        *(o.DisplayData({"text/plain": str(n).rjust(size_chars)}) for n in range(count)),
        outputs=[e.LogsOutput(str(n).rjust(size_chars)) for n in range(count)],
    )
    everything = list(item.notebook_outputs)
    await offload(item, blobs.put)
    assert len(e.encode(item)) < 4_500_000
    kept = item.notebook_outputs
    middle = next(index for index, output in enumerate(kept) if isinstance(output, o.Stream))
    line = kept[middle]
    assert isinstance(line, o.Stream)
    assert f"of {count:,} outputs are left out here; all of them: blob:" in line.text
    assert kept[:middle] == everything[:middle]
    assert kept[middle + 1 :] == everything[len(everything) - (len(kept) - middle - 1) :]
    assert 0 < middle < len(kept) - 1
    assert item.outputs is not None
    assert len(item.outputs) < count
    url = line.text.split("all of them: ")[1].rstrip("]\n")
    data, media_type = blobs.at(url)
    assert msgspec.json.decode(data) == msgspec.to_builtins(everything)
    assert media_type == "application/json"


async def test_one_output_of_too_many_types_is_moved_as_a_whole() -> None:
    blobs = Blobs()
    item = call(o.DisplayData({f"text/x{n}": "y" * 1_000 for n in range(10_000)}))
    await offload(item, blobs.put)
    assert len(item.notebook_outputs) == 1
    assert isinstance(item.notebook_outputs[0], o.Stream)


async def test_a_url_that_the_code_put_there_itself_is_dropped() -> None:
    item = call(o.DisplayData({"text/plain": "x"}, {"codeact:url": {"image/png": "https://evil.invalid/"}, "a": 1}))
    await offload(item, Blobs().put)
    assert item.notebook_outputs == [o.DisplayData({"text/plain": "x"}, {"a": 1})]


@pytest.mark.parametrize("content", ["", "a", "not base64 é", ["a"], {"a": 1}, None, 7])
async def test_an_image_that_is_none_is_left_alone(content: object) -> None:
    blobs = Blobs()
    item = call(o.DisplayData({"image/png": content, "text/plain": "x"}))
    await offload(item, blobs.put)
    assert item.notebook_outputs == [o.DisplayData({"image/png": content, "text/plain": "x"})]
    assert not blobs


async def test_a_type_with_a_line_break_never_becomes_a_media_type() -> None:
    blobs = Blobs()
    await offload(call(o.DisplayData({"image/png\r\nX-Evil: 1": PNG_TEXT})), blobs.put)
    assert not blobs


async def test_a_response_with_ten_megabytes_per_item_fits_and_comes_back(store: Store) -> None:
    answer = e.Response(id=new_id("resp"), created_at=1.0, model="demo")
    await store.begin_response(answer, [], owner="ann")

    async def put(data: bytes, media_type: str) -> str:
        return await store.put_blob(data, media_type, owner="ann")

    image = os.urandom(7_500_000)
    for index in range(4):
        text = str(index) * 10_000_000
        answer.output.append(
            call(
                o.Stream("stdout", text),
                o.DisplayData({"image/png": base64.b64encode(image).decode(), "text/html": text}),
                outputs=[e.LogsOutput(text)],
            )
        )
        await offload(answer.output[-1], put)
        await store.add_item(answer.id, index, answer.output[-1])
    await store.end_response(answer)
    stored = (await store.get_response(answer.id, owner="ann")).response
    assert stored.output == answer.output
    assert len(e.encode(stored)) < 2_000_000
    shown = stored.output[0].notebook_outputs[1]  # type: ignore[union-attr]
    assert isinstance(shown, o.DisplayData)
    urls = shown.metadata["codeact:url"]
    blob = await store.get_blob(urls["image/png"].removeprefix("blob:"), owner="ann")
    assert (blob.data, blob.media_type) == (image, "image/png")
    whole = await store.get_blob(urls["text/html"].removeprefix("blob:"), owner="ann")
    assert whole.data == b"0" * 10_000_000
