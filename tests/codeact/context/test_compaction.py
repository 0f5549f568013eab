"""What stays beside a compaction, and what a model reads from there on; pure."""

from codeact.context.compaction import compacted, kept_ids
from codeact.dialect.base import Entry
from codeact.events import Compaction, InputMessage
from tests.codeact.context.test_policy import block, conversation, question


def ids(items: list[Entry]) -> list[str]:
    return [getattr(item, "id", "") for item in items]


def test_the_question_and_the_step_behind_it_stay_however_little_room_there_is() -> None:
    items = [*conversation(3), question("now"), block(2_000, 5_000)]
    assert kept_ids(items, room_tokens=0) == ["in_now", "ci_2000"]
    assert kept_ids([*conversation(3), question("now")], room_tokens=0) == ["in_now"]


def test_where_there_is_room_the_newest_blocks_the_newest_error_and_the_last_answer_stay() -> None:
    items = [*conversation(3), question("now"), *(block(at, 100) for at in (2_000, 2_001, 2_002))]
    kept = kept_ids(items, room_tokens=10_000)
    assert {"in_now", "ci_2001", "ci_2002", "ci_1000", "msg_2"} <= set(kept)
    assert "ci_2000" not in kept
    assert "in_question 0" not in kept


def test_a_model_reads_from_the_last_compaction_on_with_what_that_keeps() -> None:
    rules = InputMessage(id="rules", role="system", content=[{"type": "input_text", "text": "Be brief."}])
    before = [rules, *conversation(2), question("now")]
    first = Compaction(id="cmp_1", text="one", keeps=["in_question 1"])
    last = Compaction(id="cmp_2", text="two", keeps=["in_now"])
    stopped = Compaction(id="cmp_3")
    items = [*before[:3], first, *before[3:], last, block(7, 10), stopped]
    assert ids(compacted(items)) == ["rules", "cmp_2", "in_now", "ci_7"]
    assert ids(compacted(before)) == ids(before)


def test_what_the_user_said_before_a_compaction_of_a_client_stays_in_its_place() -> None:
    items = [*conversation(1), Compaction(id="cmp_1", text="told"), question("next")]
    assert ids(compacted(items)) == ["in_question 0", "in_the last question", "cmp_1", "in_next"]
