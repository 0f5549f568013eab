"""Data that the server encrypts for clients to hold: nobody else can read it, change it, or use it
for another owner.
"""

import string
from itertools import product

import pytest

from codeact.sealing import KEY_BYTES, MOST_CHARS, Sealed, Sealer, Unsealable

KEY = bytes(range(KEY_BYTES))


def test_it_opens_for_the_same_kind_and_owner_alone() -> None:
    sealed = Sealer(KEY).seal("reasoning", b"hm", owner="ada", model="openai/gpt-5")
    assert Sealer(KEY).open("reasoning", sealed, owner="ada") == Sealed(b"hm", "openai/gpt-5")
    for sealer, kind, owner in (
        (Sealer(KEY), "compaction", "ada"),
        (Sealer(KEY), "reasoning", "bob"),
        (Sealer(bytes(KEY_BYTES)), "reasoning", "ada"),
    ):
        with pytest.raises(Unsealable):
            sealer.open(kind, sealed, owner=owner)


def test_it_shows_nothing_and_differs_each_time() -> None:
    sealer = Sealer(KEY)
    one, other = (sealer.seal("reasoning", b"secret" * 5, owner="ada", model="m") for _ in range(2))
    assert one != other
    assert one.isascii()
    assert "secret" not in one


def test_each_changed_character_is_noticed() -> None:
    sealer = Sealer(KEY)
    alphabet = string.ascii_letters + string.digits + "-_="
    sealed = sealer.seal("reasoning", b"hm", owner="ada")
    for place, other in product(range(len(sealed)), alphabet):
        if sealed[place] == other:
            continue
        changed = sealed[:place] + other + sealed[place + 1 :]
        with pytest.raises(Unsealable):
            sealer.open("reasoning", changed, owner="ada")


@pytest.mark.parametrize(
    "text", ["", "cs1.", "cs1.AAAA", "cs1.ü", "cs1.\ud800", "gAAAAAB" + "x" * 50, "cs1." + "A" * MOST_CHARS]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Unsealable):
        Sealer(KEY).open("reasoning", text, owner="ada")
