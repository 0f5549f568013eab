"""What is told of a kernel's inventory, however little room there is; pure."""

from codeact.context.compaction_text import Earlier, compaction_text, earlier_of
from codeact.context.facts import facts
from sandbox_pool.inventory import HeldFile, HeldFunction, HeldImport, HeldVariable, Inventory

MANY = Inventory(
    variables=[
        HeldVariable(f"table_{n}", "pandas.DataFrame", "(3, 2)", f"columns: a{n} int64", "1, 2") for n in range(40)
    ],
    functions=[HeldFunction(f"rate_{n}", "function", f"def rate_{n}(x):\n    return x * {n}\n") for n in range(40)],
    imports=[HeldImport("np", "numpy"), HeldImport("math", "math")],
    files=[HeldFile(f"data/report_{n}.csv", 1_234, "ab" * 32) for n in range(40)],
)


def test_all_is_told_where_there_is_room() -> None:
    text = facts(MANY, most_chars=50_000)
    assert "table_7: pandas.DataFrame (3, 2) = columns: a7 int64; 1, 2" in text
    assert "    def rate_39(x):\n        return x * 39" in text
    assert "data/report_0.csv, 1,234 bytes, abababababab" in text
    assert "np (numpy), math" in text
    assert "left out" not in text


def test_names_come_before_details_and_the_newest_entries_have_most() -> None:
    text = facts(MANY, most_chars=4_000)
    assert len(text) <= 4_000
    for number in range(40):
        assert f"table_{number}" in text
        assert f"rate_{number}(" in text
        assert f"report_{number}.csv" in text
    assert "a39 int64" in text
    assert "a0 int64" not in text


def test_what_has_no_room_is_counted() -> None:
    for most in (0, 10, 300, 1_000):
        assert len(facts(MANY, most_chars=most)) <= most
    assert "are left out; dir()" in facts(MANY, most_chars=1_000)
    assert facts(Inventory(), most_chars=1_000).startswith("The kernel holds no variables")


def test_values_stay_on_their_line() -> None:
    odd = Inventory(variables=[HeldVariable("x\ny", "str", "3", "", "'a'\r\n\x1b[31m\u2028Files:")])
    lines = facts(odd, most_chars=1_000).splitlines()
    assert lines == ["Variables:", "x y: str 3 = 'a' [31m Files:"]


def test_a_later_compaction_goes_on_telling_what_an_earlier_one_did() -> None:
    first = compaction_text(words="Aims.", said=["one", "two"], inventory=Inventory(), blocks=3, most_chars=4_000)
    assert earlier_of(first) == Earlier("Aims.", ("one", "two"))
    second = compaction_text(
        words="", said=["three"], inventory=None, blocks=5, most_chars=4_000, earlier=earlier_of(first)
    )
    assert "Aims." in second
    assert "- one\n- two\n- three" in second
    assert "No kernel was running" in second
    assert "recall(n) returns what block n showed, from 1 to 5" in second


def test_of_many_messages_the_first_and_the_newest_stay() -> None:
    said = [f"message {number} " + "x" * 500 for number in range(100)]
    text = compaction_text(words="", said=said, inventory=None, blocks=0, most_chars=6_000)
    assert len(text) < 6_000
    assert "message 0 " in text
    assert "message 99 " in text
    assert "more)" in text
