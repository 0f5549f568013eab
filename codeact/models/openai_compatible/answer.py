"""Parses the body of a successful response into the model's events. No I/O."""

from typing import Protocol

from codeact.model import ModelEvent, Usage
from codeact.models.openai_compatible.errors import NoCompletion, Refused, StreamBroken
from codeact.models.shared.chunks import NoChunk, decode
from codeact.models.shared.reading import Reading
from codeact.models.shared.sse import Events, TooLong

__all__ = ["Answer", "Answering", "BodyReading", "Completion"]

MAX_WHOLE_BYTES = 16_000_000
MAX_ERROR_BYTES = 100_000
BEGINNING_BYTES = 4_000


class BodyReading(Protocol):
    """Parses the JSON of one API. `finished`: the server has said that the answer is complete."""

    @property
    def finished(self) -> bool: ...

    @property
    def usage(self) -> Usage | None: ...

    def event(self, data: bytes) -> list[ModelEvent]:
        """The model's events in one event of the stream. Raises `Refused` and `StreamBroken`."""
        ...

    def whole(self, body: bytes) -> list[ModelEvent]:
        """The model's events in a body that is one whole answer.

        Raises `Refused`, also for JSON that is not an answer.
        """
        ...

    def end(self) -> list[ModelEvent]:
        """Called when the stream says that it is over; returns the events that were held back."""
        ...


class Answering(Protocol):
    """Parses one answer piece by piece. `is_over`: the rest is irrelevant."""

    @property
    def is_over(self) -> bool: ...

    def feed(self, piece: bytes) -> list[ModelEvent]:
        """The model's events in one piece. Raises exceptions that `failure` maps to errors."""
        ...

    def finish(self) -> list[ModelEvent]:
        """Call it at the end. Returns the last events, or raises the reason why the answer is incomplete."""
        ...


class Answer:
    """Parses the body of a response piece by piece into the model's events. `is_over`: the rest of the body is
    irrelevant.

    The body is a stream of events, unless its beginning shows that it is JSON (a server that does not stream) or a web
    page. `reading` parses the JSON of the events; the default is that of Chat Completions.
    """

    def __init__(self, reading: BodyReading | None = None) -> None:
        self.is_over = False
        self._events = Events()
        self._reading = reading or Completion()
        self._beginning = b""
        self._whole: list[bytes] | None = None
        self._size_bytes = 0
        self._came = False
        self._failure: Refused | StreamBroken | None = None

    def feed(self, piece: bytes) -> list[ModelEvent]:
        if self._whole is not None:
            self._keep(piece)
            return []
        if not self._came and len(self._beginning) < BEGINNING_BYTES:
            self._beginning += piece
            if self._beginning.lstrip()[:1] in (b"{", b"[", b"<"):
                self._whole = []
                self._keep(self._beginning)
                return []
        return self._read(self._feed(piece))

    def finish(self) -> list[ModelEvent]:
        """Call it at the end of the body.

        Returns the last events, or raises the reason why the answer is incomplete.
        """
        if self._failure is not None:
            raise self._failure
        if self._whole is not None:
            return self._read_whole(b"".join(self._whole).strip())
        events = []
        if not self.is_over:
            try:
                events = self._read(self._events.finish())
            except StreamBroken:
                if not self._reading.finished:
                    raise
        if not self._reading.finished:
            words = "" if self._came else self._beginning.decode(errors="replace").strip()
            if words and not words.startswith((":", "data", "event", "id", "retry")):
                raise Refused(200, self._beginning)
            raise StreamBroken("The stream ended before the answer did.")
        if self._reading.usage is not None:
            events.append(self._reading.usage)
        return events

    def _feed(self, piece: bytes) -> list[bytes]:
        try:
            return self._events.feed(piece)
        except TooLong as error:
            raise StreamBroken(str(error)) from None

    def _read(self, datas: list[bytes]) -> list[ModelEvent]:
        events: list[ModelEvent] = []
        try:
            for data in datas:
                self._came = True
                events += self._event(data)
                if self.is_over:
                    break
        except (Refused, StreamBroken) as error:
            if not events:
                raise
            # First return the events that came before it in the same piece; `finish` raises it.
            self._failure, self.is_over = error, True
        return events

    def _event(self, data: bytes) -> list[ModelEvent]:
        if data.startswith(b"[DONE]"):
            self.is_over = True
            return [] if self._reading.finished else self._reading.end()
        return self._reading.event(data)

    def _keep(self, piece: bytes) -> None:
        assert self._whole is not None
        self._whole.append(piece)
        self._size_bytes += len(piece)
        if self._size_bytes > MAX_WHOLE_BYTES:
            raise NoCompletion(f"Over {MAX_WHOLE_BYTES:,} bytes arrived that are not a stream of events.")

    def _read_whole(self, body: bytes) -> list[ModelEvent]:
        if body.startswith(b"<"):
            raise NoCompletion.page(body)
        events = self._reading.whole(body)
        return [*events, self._reading.usage] if self._reading.usage is not None else events


class Completion(Reading):
    """Parses chunks of Chat Completions, or one whole completion."""

    def event(self, data: bytes) -> list[ModelEvent]:
        try:
            chunk = decode(data)
        except NoChunk as error:
            raise StreamBroken(str(error)) from None
        if chunk.error is not None:
            raise Refused.of_event(chunk.error)
        return self.read(chunk)

    def whole(self, body: bytes) -> list[ModelEvent]:
        try:
            chunk = decode(body)
        except NoChunk:
            raise Refused(200, body[:MAX_ERROR_BYTES]) from None
        if chunk.error is not None:
            raise Refused.of_event(chunk.error)
        if not chunk.has_choice:
            raise Refused(200, body[:MAX_ERROR_BYTES])
        events = self.read(chunk)
        return events if self.finished else [*events, *self.end()]
