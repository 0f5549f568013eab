"""Turns queries of users into conditions for MongoDB, without a database."""

from datetime import UTC, datetime

import pytest

from codeact.errors import InvalidRequest
from codeact.store.repositories.history import COUNTED, leading_term
from codeact.store.search.query import Cursor, HistoryQuery, Term, terms

[RARE] = terms(HistoryQuery(tag="x"))
[WORD] = terms(HistoryQuery(query="the"))
[BEGINNING] = terms(HistoryQuery(query="th*"))


def test_words_must_all_be_there_minus_excludes_and_a_star_ends_a_beginning() -> None:
    plot, sine, cosine = terms(HistoryQuery(query="Plot sin* -cosine plot"))
    assert plot.found == {"words": "plot"}
    assert (plot.ordered, sine.ordered) == (True, False)
    assert (sine.wanted, cosine.wanted) == (True, False)


def test_only_the_last_part_of_a_word_can_be_a_beginning() -> None:
    assert [term.ordered for term in terms(HistoryQuery(query="pd.read*"))] == [True, False]


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
    place = Cursor(datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC), "conv_1")
    assert Cursor.read(str(place)) == place


@pytest.mark.parametrize("text", ["", "x", "conv", "WyJhIl0", "é", "AAAA" * 40])
def test_what_is_no_place_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Cursor.read(text)
    assert refused.value.param == "after"


@pytest.mark.parametrize(
    ("counted", "leading"),
    [
        ([], None),
        ([(WORD, COUNTED), (RARE, 3)], RARE),
        ([(RARE, COUNTED), (BEGINNING, COUNTED - 1)], BEGINNING),
        ([(BEGINNING, COUNTED), (WORD, COUNTED)], WORD),
        ([(BEGINNING, COUNTED)], None),
    ],
)
def test_the_rarest_term_leads_or_else_one_that_gives_the_order(
    counted: list[tuple[Term, int]], leading: Term | None
) -> None:
    assert leading_term(counted) is leading
