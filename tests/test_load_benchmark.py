"""What the load benchmark tells of what its clients have seen."""

import asyncio

import pytest

from benchmarks.load.answers import Seen
from benchmarks.load.client import Closed, Socket
from benchmarks.load.soak import slope_per_h


def event(kind: str, number: int, more: str = "") -> tuple[float, bytes]:
    return 100.5, f'{{"type":"{kind}",{more}"sequence_number":{number}}}'.encode()


def test_lost_repeated_and_late_events_are_counted() -> None:
    seen = Seen()
    created = event("response.created", 0, '"response":{"id":"resp_1","conversation":{"id":"conv_1"}},')
    assert not seen.read([created, event("response.output_text.delta", 1, '"delta":" at=0000000100.000000",')])
    assert (seen.response_id, seen.conversation, seen.tokens, seen.late_ms, seen.lost) == (
        *("resp_1", "conv_1", 1),
        [500.0],
        0,
    )
    assert not seen.read([event("response.output_text.delta", 3), event("response.output_text.delta", 3)])
    assert seen.lost == 2
    assert seen.read([event("response.completed", 4)])
    assert (seen.end, seen.lost) == ("response.completed", 2)


def test_a_token_that_two_deltas_share_is_counted_once() -> None:
    text = " at=0000000100.000000 at=0000000100.100000 at=0000000100.200000"
    for cut in range(len(text) + 1):
        seen = Seen()
        seen.read(
            [
                event("response.output_text.delta", at, f'"delta":"{part}",')
                for at, part in enumerate((text[:cut], text[cut:]))
            ]
        )
        assert seen.sent_at == [100.0, 100.1, 100.2]


def test_an_error_ends_the_reading_and_is_kept() -> None:
    seen = Seen()
    assert seen.read([(0.0, b'{"type":"error","status":429}')])
    assert (seen.end, seen.code) == ("error", '{"type":"error","status":429}')


def test_growth_is_told_for_an_hour() -> None:
    assert slope_per_h([(0.0, 100.0), (1800.0, 101.0), (3600.0, 102.0)]) == pytest.approx(2.0)
    assert slope_per_h([(0.0, 100.0)]) == 0.0


def test_frames_that_arrive_in_pieces_are_put_together() -> None:
    socket = Socket()
    long = b"x" * 70_000
    data = (
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + b"\x81\x03abc" + b"\x81\x7f" + len(long).to_bytes(8, "big") + long
    )
    data += b"\x81\x7e\x00\xc8" + b"y" * 200 + b"\x88\x04\x03\xf4ok"

    found: list[bytes] = []

    async def read() -> None:
        for at in range(0, len(data), 1_000):
            socket.data_received(data[at : at + 1_000])
        async for frames in socket.frames():
            found.extend(frame for _, frame in frames)

    with pytest.raises(Closed, match="1012 ok"):
        asyncio.run(read())
    assert found == [b"abc", long, b"y" * 200]
