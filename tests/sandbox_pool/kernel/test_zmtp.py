"""A peer's bytes become its messages, wherever they are cut; those of a hostile peer are bounded or refused."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_pool.kernel.zmtp import COMMAND, GREETING, LONG, MORE, PING, Receiver, TooLarge, message, ready

LIMIT_BYTES = 1000
HELLO = GREETING + ready("ROUTER")


def received(data: bytes, *, chunk_bytes: int = 10_000) -> list[list[bytes] | TooLarge]:
    receiver = Receiver(LIMIT_BYTES)
    messages = []
    for start in range(0, len(data), chunk_bytes):
        receiver.feed(data[start : start + chunk_bytes])
        while (whole := receiver.receive()) is not None:
            messages.append(whole)
    return messages


@given(
    st.lists(st.lists(st.binary(max_size=400), min_size=1, max_size=4), max_size=6),
    st.integers(1, 700),
)
def test_messages_arrive_however_they_are_cut(messages: list[list[bytes]], chunk_bytes: int) -> None:
    data = HELLO + b"".join(message(frames) + PING for frames in messages)
    expected = [frames if (size := sum(map(len, frames))) <= LIMIT_BYTES else TooLarge(size) for frames in messages]
    assert received(data, chunk_bytes=chunk_bytes) == expected


@pytest.mark.parametrize(
    "frames",
    [[b"x" * 1001], [b"x" * 600, b"y" * 600], [b"x" * 2000, b""], [b""] * 65, [b"x" * 100_000]],
)
def test_of_a_message_over_the_limit_only_the_size_is_told(frames: list[bytes]) -> None:
    [too_large, after] = received(HELLO + message(frames) + message([b"after"]), chunk_bytes=300)
    assert isinstance(too_large, TooLarge)
    assert too_large == sum(map(len, frames))
    assert after == [b"after"]


@pytest.mark.parametrize("size", [10**6, 2**63, 2**64 - 1])
def test_what_is_announced_is_not_held(size: int) -> None:
    receiver = Receiver(LIMIT_BYTES)
    receiver.feed(HELLO + struct.pack(">BQ", LONG, size))
    assert receiver.receive() == TooLarge(size)
    for _ in range(100):
        receiver.feed(b"x" * 10_000)
        assert not receiver._data


def test_a_message_without_end_is_not_held() -> None:
    receiver = Receiver(LIMIT_BYTES)
    receiver.feed(HELLO)
    frame = bytes([MORE, 200]) + b"x" * 200
    for _ in range(1000):
        receiver.feed(frame)
        assert receiver.receive() is None
    assert not receiver._frames
    assert len(receiver._data) <= LIMIT_BYTES


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n".ljust(64),
        GREETING.replace(b"NULL", b"PLAI") + ready("ROUTER"),
        GREETING[:10] + b"\x01" + GREETING[11:],
        GREETING + message([b"no READY"]),
        GREETING + bytes([COMMAND, 6]) + b"\x05ERROR",
        HELLO + b"\xff\x00",
        HELLO + struct.pack(">BQ", COMMAND | LONG, 5000),
    ],
)
def test_what_speaks_something_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"the peer|READY|flags|command"):
        received(data)


@given(st.binary(max_size=300))
def test_any_bytes_are_messages_or_refused(data: bytes) -> None:
    try:
        received(HELLO + data)
    except ValueError:
        pass
