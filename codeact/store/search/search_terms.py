"""Splits texts into normalised words, in the same way for what is stored and for what is searched.

A word is a run of letters, digits and underscores, without case and accents. A name in code is also found by its parts
(`read_csv`: `read_csv`, `read`, `csv`). Text in scripts without spaces is split into pairs of characters.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

__all__ = ["place_of", "query_words", "words_of"]

SHORTEST = 2
"""Shorter words are not in the index."""

WORD_CHARS = 64
"""Longer words are cut to this length."""

SCANNED_CHARS = 100_000
"""The limit per text; what follows is not searched."""
ALL_SCANNED_CHARS = 200_000
"""The limit for all texts of one call."""

_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_WORD = re.compile(rf"[{_UNSPACED}]+|(?:(?![{_UNSPACED}])\w)+")
_NORMALISED_CHARS = 128
"""How much is normalised at a time: its duration grows with the square of a run of combining marks."""
_unspaced = re.compile(rf"[{_UNSPACED}]").match


def words_of(texts: Iterable[str], *, limit: int | None = None) -> list[str]:
    """The words of the texts, each once, in order of first use, at most `limit`. Single Latin letters are left out."""
    found: dict[str, None] = {}
    left = ALL_SCANNED_CHARS
    for text in texts:
        scanned = text[: min(left, SCANNED_CHARS)]
        left -= len(scanned)
        for run in _WORD.findall(_plain(scanned)):
            found.update(dict.fromkeys(_forms(run)))
            if limit is not None and len(found) >= limit:
                return list(found)[:limit]
    return list(found)


def query_words(text: str, *, shortest: int = SHORTEST) -> list[str]:
    """The words that a conversation must contain to match `text`; `shortest` is 1 for the beginning of a word.

    A name in code counts as a whole, without its parts.
    """
    words = [
        form
        for run in _WORD.findall(_plain(text[:SCANNED_CHARS]))
        for form in _forms(run, shortest)[: None if _unspaced(run) else 1]
    ]
    return list(dict.fromkeys(words))


def place_of(text: str, beginnings: Sequence[str]) -> tuple[int, int] | None:
    """Returns where the first word of `text` stands that begins with one of `beginnings`, as start and end.

    `beginnings` are of `query_words`. Returns None if there is no such word. Searches at most `SCANNED_CHARS`.
    """
    scanned = text[:SCANNED_CHARS]
    plain = _plain(scanned)
    sought = [beginning for beginning in beginnings if beginning in plain]
    if not sought:
        return None
    for run in _WORD.finditer(scanned):
        word = run[0].lower() if run[0].isascii() else _plain(run[0])
        for beginning in sought:
            at = word.find(beginning)
            # Inside of a name in code a word begins behind an underscore; scripts without spaces have no words.
            if at == 0 or (at > 0 and (word[at - 1] == "_" or _unspaced(word))):
                start = run.start() + at if len(word) == len(run[0]) else run.start()
                return start, run.end()
    return None


def _plain(text: str) -> str:
    if text.isascii():
        return text.lower()
    letters = "".join(char for char in text.casefold() if not unicodedata.combining(char))
    pieces = (letters[at : at + _NORMALISED_CHARS] for at in range(0, len(letters), _NORMALISED_CHARS))
    decomposed = (char for piece in pieces for char in unicodedata.normalize("NFKD", piece))
    return unicodedata.normalize("NFKC", "".join(char for char in decomposed if not unicodedata.combining(char)))


def _forms(run: str, shortest: int = SHORTEST) -> list[str]:
    if _unspaced(run):
        return [run[at : at + 2] for at in range(max(1, len(run) - 1))]
    parts = run.strip("_").split("_")
    forms = parts if len(parts) == 1 else ["_".join(parts), *parts]
    return [form[:WORD_CHARS] for form in forms if len(form) >= shortest]
