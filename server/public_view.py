"""Builds what strangers with a link see of a conversation, from an allow-list of fields.

Everything is copied field by field, so that a new field of an item stays private until somebody adds it here.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from codeact import events as e
from codeact.concurrency.slices import Slices
from codeact.disclosure import public_error
from codeact.events.certificates import Certificate
from codeact.observations.observation import HEADER
from codeact.store import Share, StoredResponse
from codeact.store.references import reference, sha256_of
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, ExecutionResult, Stream

__all__ = ["SharedConversation", "copied_conversation", "images_of", "shared_conversation"]

FULL_TEXT = re.compile(r"; all of them: blob:[0-9a-f]{64}\]")
"""The end of the line in a shortened text that refers to the complete text, which only the owner may read."""
URL_FIELD = "codeact:url"
"""In an output's metadata: the references of large values, by media type."""
IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml"})
OBSERVED_CHARS = 12_000
SHOWN_TYPES = IMAGES | {"text/plain", "text/html", "text/markdown", "text/latex", "application/json"}


class SharedText(msgspec.Struct, frozen=True, tag="input_text"):
    text: str


class SharedEarlier(msgspec.Struct, frozen=True, tag="output_text"):
    text: str


class SharedPicture(msgspec.Struct, frozen=True, tag="input_image"):
    image_url: str


class SharedQuestion(msgspec.Struct, frozen=True, tag="message"):
    """A message of the user, or an earlier answer that the client sent back."""

    role: Literal["user", "assistant"]
    content: list[SharedText | SharedEarlier | SharedPicture]


class SharedProse(msgspec.Struct, frozen=True, tag="output_text"):
    text: str
    annotations: tuple[()] = ()


class SharedAnswer(msgspec.Struct, frozen=True, tag="message"):
    id: str
    status: str
    content: list[SharedProse]
    role: Literal["assistant"] = "assistant"


class SharedLogs(msgspec.Struct, frozen=True, tag="logs"):
    logs: str


class SharedImage(msgspec.Struct, frozen=True, tag="image"):
    url: str


class SharedOutput(msgspec.Struct, frozen=True):
    """Output of a stream, a display or an exception, as in a notebook; other fields are omitted."""

    output_type: Literal["stream", "display_data", "execute_result", "error"]
    name: str | msgspec.UnsetType = msgspec.UNSET
    text: str | msgspec.UnsetType = msgspec.UNSET
    data: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    metadata: dict[str, dict[str, str]] | msgspec.UnsetType = msgspec.UNSET
    ename: str | msgspec.UnsetType = msgspec.UNSET
    evalue: str | msgspec.UnsetType = msgspec.UNSET
    traceback: list[str] | msgspec.UnsetType = msgspec.UNSET


class SharedResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the code ended."""

    status: str
    duration_s: float
    execution_count: int | None = None
    limit: str | None = None
    error: SharedOutput | None = None


class SharedCode(msgspec.Struct, frozen=True, tag="code_interpreter_call"):
    id: str
    status: str
    code: str
    outputs: list[SharedLogs | SharedImage] | None
    notebook_outputs: list[SharedOutput] = msgspec.field(name="codeact:notebook_outputs")
    result: SharedResult | None = msgspec.field(name="codeact:result")


class SharedDifference(msgspec.Struct, frozen=True):
    """Where the outputs differ, without what they are."""

    block: int
    output: int | None
    kind: str


class SharedCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """That the answer's code was run again, and whether its outputs were equal. `packages` has versions by name."""

    result: Literal["equal", "differs"]
    verified_at: int
    version: str
    blocks: int
    outputs: int
    calls: int
    tolerance: float
    image: str | None
    packages: dict[str, str]
    differences: list[SharedDifference]


class SharedError(msgspec.Struct, frozen=True):
    code: str
    message: str


class SharedResponse(msgspec.Struct, frozen=True):
    id: str
    created_at: int
    status: str
    error: SharedError | None
    input: list[SharedQuestion]
    output: list[SharedAnswer | SharedCode]
    certificate: SharedCertificate | None = None


class SharedConversation(msgspec.Struct, frozen=True, kw_only=True):
    """What a link shows: title, questions, prose, code with its outputs, and URLs of images."""

    object: Literal["codeact:shared_conversation"] = "codeact:shared_conversation"
    title: str | None
    created_at: int
    shared_at: int
    responses: list[SharedResponse]


async def shared_conversation(
    thread: Sequence[StoredResponse],
    share: Share,
    *,
    title: str | None,
    created_at: float,
    certificates: Mapping[str, Certificate] = MappingProxyType({}),
) -> SharedConversation:
    """The branch as a stranger sees it, built in slices. The URLs of its images work only with this link.

    `certificates` are those of its answers, by the ids of the responses.
    """
    view = _View(lambda sha256: f"/v1/shares/{share.token}/blobs/{sha256}", certificates)
    return SharedConversation(
        title=title,
        created_at=int(created_at),
        shared_at=int(share.created_at),
        responses=[await view.response(stored) for stored in thread],
    )


async def copied_conversation(thread: Sequence[StoredResponse]) -> tuple[list[StoredResponse], frozenset[str]]:
    """What a stranger sees of the branch as responses that can be stored, and the SHA-256 sums of their images.

    The model reads the outputs of code in place of its observations.
    """
    found: set[str] = set()

    def kept(sha256: str) -> str:
        found.add(sha256)
        return reference(sha256)

    view = _View(kept)
    copies: list[StoredResponse] = []
    for stored in thread:
        shown = await view.response(stored)
        copies.append(_as_stored(shown, copies[-1].response.id if copies else None))
    return copies, frozenset(found)


def _as_stored(shown: SharedResponse, previous_response_id: str | None) -> StoredResponse:
    response = e.Response(
        id=shown.id,
        created_at=shown.created_at,
        model="shared",
        status=shown.status if shown.status in ("completed", "incomplete", "cancelled") else "failed",  # type: ignore[arg-type]
        error=e.ResponseError(shown.error.code, shown.error.message) if shown.error is not None else None,
        previous_response_id=previous_response_id,
        output=[_as_item(item) for item in shown.output],
    )
    questions = [
        e.InputMessage(id=f"msg_{number}", role=question.role, content=msgspec.to_builtins(question.content))
        for number, question in enumerate(shown.input)
    ]
    return StoredResponse(response, [*questions])


def _as_item(item: SharedAnswer | SharedCode) -> e.Item:
    wire = msgspec.to_builtins(item)
    if isinstance(item, SharedAnswer):
        return msgspec.convert(wire, e.Message)
    logs = "".join(output.logs for output in item.outputs or () if isinstance(output, SharedLogs))
    status = item.result.status if item.result is not None else "unknown"
    observation = f"{HEADER} {status}\n{logs[:OBSERVED_CHARS] or '(no output)'}"
    return msgspec.convert(
        wire | {"container_id": "cntr_shared", "codeact:observation": observation}, e.CodeInterpreterCall
    )


async def images_of(thread: Iterable[StoredResponse]) -> frozenset[str]:
    """The SHA-256 sums of exactly those images that the shared view of this branch shows."""
    found: set[str] = set()

    def collect(sha256: str) -> str:
        found.add(sha256)
        return sha256

    view = _View(collect)
    for stored in thread:
        await view.response(stored)
    return frozenset(found)


class _View:
    """Converts stored items. `url` returns the address of an image for its SHA-256."""

    def __init__(
        self, url: Callable[[str], str], certificates: Mapping[str, Certificate] = MappingProxyType({})
    ) -> None:
        self._url = url
        self._certificates = certificates
        self._slices = Slices()

    async def response(self, stored: StoredResponse) -> SharedResponse:
        response = stored.response
        error = response.error
        output = []
        for item in response.output:
            if (shown := self._item(item)) is not None:
                output.append(shown)
            await self._slices.pause()
        return SharedResponse(
            id=response.id,
            created_at=int(response.created_at),
            status=response.status,
            error=SharedError(*public_error(error.code)) if error is not None else None,
            input=[question for item in stored.input if (question := self._question(item)) is not None],
            output=output,
            certificate=_certificate(self._certificates.get(response.id)),
        )

    def _question(self, item: e.Input) -> SharedQuestion | None:
        """None for items that are neither the user's nor an answer: instructions, and observations that a client sent
        back.
        """
        if not isinstance(item, e.InputMessage) or item.role not in ("user", "assistant"):
            return None
        content = [shown for part in item.content if (shown := self._part(part)) is not None]
        return SharedQuestion("user" if item.role == "user" else "assistant", content) if content else None

    def _part(self, part: dict[str, Any]) -> SharedText | SharedEarlier | SharedPicture | None:
        match part:
            case {"type": "input_text", "text": str(text)} if not text.startswith(HEADER):
                return SharedText(text)
            case {"type": "output_text", "text": str(text)}:
                return SharedEarlier(text)
            case {"type": "input_image", "image_url": str(url)} if (image := self._image(url)) is not None:
                return SharedPicture(image)
        return None

    def _item(self, item: e.Item) -> SharedAnswer | SharedCode | None:
        match item:
            case e.Message():
                prose = [SharedProse(_text(part.text)) for part in item.content]
                return SharedAnswer(item.id, item.status, prose)
            case e.CodeInterpreterCall():
                outputs = [shown for output in item.outputs or () if (shown := self._standard(output)) is not None]
                return SharedCode(
                    id=item.id,
                    status=item.status,
                    code=_text(item.code),
                    outputs=None if item.outputs is None else outputs,
                    notebook_outputs=[self._output(output) for output in item.notebook_outputs],
                    result=_result(item.result),
                )
        return None

    def _standard(self, output: e.LogsOutput | e.ImageOutput) -> SharedLogs | SharedImage | None:
        if isinstance(output, e.LogsOutput):
            return SharedLogs(_text(output.logs))
        image = self._image(output.url)
        return SharedImage(image) if image is not None else None

    def _output(self, output: Stream | DisplayData | ExecuteResult | Error) -> SharedOutput:
        match output:
            case Stream():
                return SharedOutput("stream", name=output.name, text=_text(output.text))
            case Error():
                return _error(output)
        data = {
            mime: _text(content) if isinstance(content, str) else content
            for mime, content in output.data.items()
            if mime in SHOWN_TYPES
        }
        return SharedOutput(
            "display_data" if isinstance(output, DisplayData) else "execute_result",
            data=data,
            metadata={URL_FIELD: urls} if (urls := self._urls(output.metadata.get(URL_FIELD))) else {},
        )

    def _urls(self, stored_urls: object) -> dict[str, str]:
        """The URLs of images only: other large values are for the owner."""
        urls = stored_urls.items() if isinstance(stored_urls, dict) else ()
        found = {mime: self._image(url) for mime, url in urls if mime in IMAGES and isinstance(url, str)}
        return {mime: image for mime, image in found.items() if image is not None}

    def _image(self, url: str) -> str | None:
        """An address for strangers; None if it is not an image of this server."""
        sha256 = sha256_of(url)
        if sha256 is not None:
            return self._url(sha256)
        return url if url.startswith("data:image/") else None


def _certificate(certificate: Certificate | None) -> SharedCertificate | None:
    if certificate is None:
        return None
    return SharedCertificate(
        result=certificate.result,
        verified_at=certificate.verified_at,
        version=certificate.version,
        blocks=certificate.blocks,
        outputs=certificate.outputs,
        calls=certificate.calls,
        tolerance=certificate.tolerance,
        image=certificate.replayed.image,
        packages=certificate.replayed.packages,
        differences=[
            SharedDifference(difference.block, difference.output, difference.kind)
            for difference in certificate.differences
            if not difference.earlier
        ],
    )


def _text(text: str) -> str:
    return FULL_TEXT.sub("]", text)


def _error(error: Error) -> SharedOutput:
    traceback = [_text(line) for line in error.traceback]
    return SharedOutput("error", ename=_text(error.ename), evalue=_text(error.evalue), traceback=traceback)


def _result(result: ExecutionResult | None) -> SharedResult | None:
    if result is None:
        return None
    error = _error(result.error) if result.error is not None else None
    return SharedResult(result.status, result.duration_s, result.execution_count, result.limit, error)
