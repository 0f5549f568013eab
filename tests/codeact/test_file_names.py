"""Names of files that users send."""

import unicodedata

import pytest

from codeact.file_names import NAME_BYTES, called, distinct, is_second, normal

TAKEN = [
    "Screenshot 2026-01-01 at 10.00.00\u202fAM.csv",
    "Sn\u00edmek obrazovky\u00a0v 13.csv",
    "\u58f2\u4e0a\u3000\u30c7\u30fc\u30bf.csv",
    "\u05d3\u05d5\u05d7\u200f.csv",
    "family \U0001f468\u200d\U0001f469\u200d\U0001f467.csv",
    "line\u2028separator \u2066isolate\u2069 soft\u00adhyphen \ufeffmark",
    " spaces at both ends ",
    "-rf *?\"'$`<>|;&.csv",
    "private \ue000 and unassigned \U000e0fff",
]


@pytest.mark.parametrize("name", TAKEN, ids=ascii)
def test_what_a_file_system_takes_is_a_name(name: str) -> None:
    assert normal(name) == name
    assert normal(f"C:\\Users\\me\\{name}") == name
    assert normal(f"/home/me/{name}") == name


def test_a_name_is_composed() -> None:
    assert normal("cafe\u0301.csv") == "caf\u00e9.csv"
    korean = unicodedata.normalize("NFD", "\ud55c\uad6d.txt")
    assert normal(korean) == "\ud55c\uad6d.txt"
    assert normal("a" + "\u0301\u0323" * 50)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "needs a name"),
        ("directory/", "needs a name"),
        (".", "needs a name"),
        ("..", "needs a name"),
        ("a\0b", "control characters"),
        ("a\nb", "control characters"),
        ("a\x85b", "control characters"),
        ("a\x1b[2Jb", "control characters"),
        ("half \ud800", "halves"),
        ("x" * 256, "at most 255 bytes"),
        ("\u58f2" * 86, "at most 255 bytes in UTF-8; this one has 258"),
        ("\u0301" * 1_000_000, "at most 255 bytes"),
    ],
)
def test_what_is_none_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        normal(name)


def test_two_files_of_one_name_get_two_names() -> None:
    assert distinct(["a.csv", "b.csv"]) == ["a.csv", "b.csv"]
    assert distinct(["a.csv", "a.csv", "a.csv"]) == ["a.csv", "a (2).csv", "a (3).csv"]
    assert distinct(["a (2).csv", "a.csv", "a.csv"]) == ["a (2).csv", "a.csv", "a (3).csv"]
    assert distinct([".env", ".env", "README", "README"]) == [".env", ".env (2)", "README", "README (2)"]
    long = "\u58f2" * 85
    assert all(len(name.encode()) <= NAME_BYTES for name in distinct([long, long]))
    assert len(set(distinct(["x"] * 500))) == 500


def test_a_second_name_is_known_as_one() -> None:
    assert is_second("a (2).csv", ["a.csv"])
    assert is_second("README (3)", ["README"])
    assert not is_second("a (2).csv", ["b.csv"])
    assert not is_second("a.csv", ["a.csv"])


def test_what_cannot_be_seen_is_told_in_escapes_too() -> None:
    assert called("data.csv") == "'data.csv'"
    assert called("10.00\u202fAM.csv") == "'10.00\u202fAM.csv' (in Python: '10.00\\u202fAM.csv')"
    assert called("it's.csv") == '"it\'s.csv"'
