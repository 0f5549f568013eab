"""From what is asked to what MongoDB is asked, without a database."""

from datetime import UTC, datetime

import pytest

from codeact.errors import InvalidRequest
from codeact.store.history import COUNTED, index_for
from codeact.store.query import HistoryQuery, Place, Term, terms

RARE, WORD = Term("labels", "tag:x"), Term("words", "the")
BEGINNING = Term("words", "th", prefix=True)


def test_words_must_all_be_there_minus_excludes_and_a_star_ends_a_beginning() -> None:
    assert terms(HistoryQuery(query="Plot sin* -cosine")) == [
        Term("words", "plot"),
        Term("words", "sin", prefix=True),
        Term("words", "cosine", wanted=False),
    ]


def test_only_the_last_part_of_a_word_can_be_a_beginning() -> None:
    assert terms(HistoryQuery(query="pd.read*")) == [Term("words", "pd"), Term("words", "read", prefix=True)]


@pytest.mark.parametrize("query", ["a", "* -", "'\"()", "$"])
def test_a_query_without_words_is_refused(query: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        terms(HistoryQuery(query=query))
    assert refused.value.param == "query"


def test_a_query_has_a_bound() -> None:
    with pytest.raises(InvalidRequest):
        terms(HistoryQuery(query=" ".join(f"word{number}" for number in range(50))))


def test_no_rating_excludes_both() -> None:
    assert [term.wanted for term in terms(HistoryQuery(rating="none"))] == [False, False]


def test_a_place_is_read_as_it_was_written() -> None:
    place = Place(datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC), "conv_1")
    assert Place.read(str(place)) == place


@pytest.mark.parametrize("text", ["", "x", "conv", "WyJhIl0", "é", "AAAA" * 40])
def test_what_is_no_place_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Place.read(text)
    assert refused.value.param == "after"


@pytest.mark.parametrize(
    ("counted", "index"),
    [
        ([], "latest"),
        ([(WORD, 0)], "words"),
        ([(WORD, COUNTED), (RARE, 3)], "labels"),
        ([(WORD, COUNTED), (BEGINNING, COUNTED)], "words"),
        ([(BEGINNING, COUNTED)], "latest"),
        ([(BEGINNING, COUNTED - 1)], "words"),
    ],
)
def test_the_rarest_term_chooses_the_index(counted: list[tuple[Term, int]], index: str) -> None:
    assert index_for(counted) == index
