"""The parts of the error envelope that need no server."""

from codeact.server.errors import close_reason


def test_a_reason_fits_into_a_close_frame_whatever_it_is_written_in() -> None:
    assert close_reason("The key is not valid.") == "The key is not valid."
    assert close_reason("ü" * 200) == "ü" * 61
    assert len(close_reason("字" * 200).encode()) == 123
