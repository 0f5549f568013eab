"""What counts as equal when an answer's code is run again."""

import pytest

from codeact.verification.comparing import compare
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, Stream


def text(value: str) -> list[Stream]:
    return [Stream("stdout", value)]


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ("<object at 0x7f3a1c2b4d50>", "<object at 0x7fffdeadbeef>"),
        ("/tmp/tmpab12cd34/x.csv", "/tmp/tmpzz99xx88/x.csv"),
        ("Cell In[3], line 1", "Cell In[17], line 1"),
        ("Wall time: 3 ms", "Wall time: 1.2 s"),
        ("1 ms ± 2 µs per loop (mean ± std. dev. of 7 runs, 1 loop each)", "9 ms ± 1 µs per loop (mean ± std. dev.)"),
        ("a\nMatplotlib is building the font cache; this may take a moment.\nb", "a\nb"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("mean 0.30000000000000004", "mean 0.3"),
        ("[1.0e-12 2.5]", "[1.0000000001e-12 2.5]"),
    ],
)
def test_what_differs_by_chance_is_equal(expected: str, found: str) -> None:
    assert compare(text(expected), text(found), 1e-9) == (None, [])


@pytest.mark.parametrize(
    ("expected", "found", "shown"),
    [
        ("one 1 two 2", "one 1 two 3", "2"),
        ("0.3", "0.30001", "0.3"),
        ("abc", "abd", "abc"),
        ("1 2", "1 2 3", "1 2"),
        ("3", "3.0", "3"),
        ("1.602e-19", "1.2e-19", "1.602e-19"),
        ("1e999", "2e999", "1e999"),
    ],
)
def test_what_differs_is_shown_where_it_begins(expected: str, found: str, shown: str) -> None:
    mismatch, _ = compare(text(expected), text(found), 1e-9)
    assert mismatch is not None
    assert (mismatch.kind, mismatch.output) == ("text", 1)
    assert shown in mismatch.expected
    assert mismatch.found != mismatch.expected


def test_the_tolerance_is_relative() -> None:
    assert compare(text("1000000.5"), text("1000000.6"), 1e-6) == (None, [])
    assert compare(text("0.5"), text("0.6"), 1e-6)[0] is not None


def test_pieces_of_a_stream_do_not_count_but_displays_do() -> None:
    pieces = [Stream("stdout", "a"), Stream("stderr", "e"), Stream("stdout", "b")]
    assert compare(pieces, [Stream("stdout", "ab"), Stream("stderr", "e")], 0) == (None, [])
    shown = [*pieces, ExecuteResult({"text/plain": "1"})]
    assert (compare(shown, pieces, 0)[0] or pieces).kind == "outputs"  # type: ignore[union-attr]
    other = [*pieces, DisplayData({"text/plain": "1"})]
    assert (compare(shown, other, 0)[0] or pieces).kind == "type"  # type: ignore[union-attr]


def test_of_outputs_that_were_cut_what_both_have_is_compared() -> None:
    one = [*text("1\n2\n3\n4"), Stream("stderr", "xxx"), DisplayData({"text/plain": "a"}), Error("E", "e", [])]
    other = [Stream("stderr", "xx"), *text("1\n2.0000000001\n"), Error("E", "e", [])]
    assert compare(one, other, 1e-9)[0] is not None
    assert compare(one, text("1\n2\n"), 1e-9, is_cut=True)[0] is not None  # It has no error.
    other = [*text("1\n2\n"), Stream("stderr", "xx"), Error("E", "e", [])]
    assert compare(one, other, 1e-9, is_cut=True) == (None, [])
    assert compare(other, one, 1e-9, is_cut=True) == (None, [])
    assert compare(one, [*text("1\n5\n"), Error("E", "e", [])], 1e-9, is_cut=True)[0] is not None


def test_errors_are_compared_with_their_tracebacks() -> None:
    one = Error("ValueError", "no 0x7f3a1c2b4d50", ["Cell In[1], line 2", "no"])
    same = Error("ValueError", "no 0x7fffdeadbeef", ["\x1b[0mCell In[9], line 2", "no"])
    assert compare([one], [same], 0) == (None, [])
    mismatch, _ = compare([one], [Error("ValueError", "no", ["Cell In[1], line 3", "no"])], 0)
    assert mismatch is not None
    assert mismatch.kind == "error"


def test_pictures_with_other_bytes_wait_for_their_pixels() -> None:
    one, other = DisplayData({"image/png": "aGk="}), DisplayData({"image/png": "aG8="})
    mismatch, pictures = compare([one], [other], 0)
    assert mismatch is None
    assert [(pair.output, pair.expected, pair.found) for pair in pictures] == [(1, b"hi", b"ho")]
    svg = '<svg><dc:date>{}</dc:date><path id="m{}"/></svg>'
    drawn = [[DisplayData({"image/svg+xml": svg.format(*parts)})] for parts in (("a", "1f2e3d4c"), ("b", "99aa88bb"))]
    assert compare(*drawn, 0) == (None, [])
