"""Search words: the same text gives the same words in a document and in a query."""

import pytest

from codeact.store.search.search_terms import place_of, query_words, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Plot a Sine wave, please!", ["plot", "sine", "wave", "please"]),
        ("CAFÉ café Café", ["cafe"]),
        ("Straße", ["strasse"]),
        ("df = pd.read_csv('a.csv')", ["df", "pd", "read_csv", "read", "csv"]),
        ("__init__", ["init"]),
        ("日本語", ["日本", "本語"]),
        ("Ωmega 日本", ["ωmega", "日本"]),
        ("a b 1 _ - !", []),
        ("x" * 100, ["x" * 64]),
        ("ﬁne", ["fine"]),
        ("हिन्दी", words_of(["हिन्दी"])),
    ],
)
def test_words_have_no_case_no_accents_and_come_once(text: str, words: list[str]) -> None:
    assert words_of([text]) == words


def test_a_limit_keeps_the_first_words() -> None:
    assert words_of(["one two", "three four"], limit=3) == ["one", "two", "three"]


def test_a_name_in_code_is_asked_for_as_a_whole() -> None:
    assert query_words("read_csv") == ["read_csv"]
    assert query_words("pd.read_csv") == ["pd", "read_csv"]
    assert query_words("日本語") == ["日本", "本語"]


@pytest.mark.parametrize("text", ["pd.read_csv(x)", "Straße 日本語 café", "a_b__cd"])
def test_what_is_stored_is_found_by_its_own_text(text: str) -> None:
    assert set(query_words(text)) <= set(words_of([text]))


@pytest.mark.parametrize(
    ("text", "beginning", "place"),
    [
        ("Use matplotlib here", "matplot", "matplotlib"),
        ("Grüße aus Straßburg", "strass", "Straßburg"),
        ("call read_csv now", "csv", "csv"),
        ("das 日本語", "日本", "日本語"),
        ("nothing of that", "sine", None),
        ("in the middle: unplotted", "plot", None),
    ],
)
def test_the_place_of_a_word_is_found_from_its_beginning(text: str, beginning: str, place: str | None) -> None:
    found = place_of(text, query_words(beginning, shortest=1))
    assert (text[slice(*found)] if found else None) == place
