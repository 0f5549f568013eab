"""A prompt of which most is known is the one that a whole rendering gives, and renders only what was added."""

import random
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pytest

from codeact import events as e
from codeact.context.masking import Masks
from codeact.dialect import Aside, Dialect
from codeact.dialect.base import Entry
from codeact.dialect.freeform import Freeform
from codeact.dialect.known_prompt import KnownPrompt
from codeact.dialect.tags import Tags
from codeact.dialect.tool_call import ToolCalls
from codeact.ids import new_id
from codeact.model import ChatMessage
from codeact.runs.media import inline_media
from codeact.store import Blob
from tests.codeact.store.conversations import code, message, user

MODEL = "m"
DIALECTS: list[Dialect] = [Tags(), ToolCalls(), Freeform()]


def prompt(
    known: KnownPrompt, items: Sequence[Entry], dialect: Dialect, unchanging: int | None = None, system: str = "s"
) -> list[ChatMessage]:
    return known.messages(
        items,
        unchanging=len(items) if unchanging is None else unchanging,
        system=system,
        form=dialect.name,
        render=partial(dialect.messages, system=system, model=MODEL),
    )


def written(rng: random.Random, **more: Any) -> e.Written | None:
    text = rng.choice([None, "", "said <execute>\n1\n</execute>"])
    return rng.choice([None, e.Written(model=rng.choice([MODEL, "other"]), text=text, **more)])


def answer(rng: random.Random, items: list[Entry]) -> Iterator[Entry]:
    """The items of an answer; some refer to each other, or to items of earlier answers."""
    earlier = [item.id for item in items if not isinstance(item, Aside)]
    blocks = [item for item in items if isinstance(item, e.CodeInterpreterCall)]
    for _ in range(rng.randint(0, 3)):
        match rng.randint(0, 9):
            case 0:
                kept = rng.choice([None, e.KeptReasoning(model=MODEL)])
                yield e.Reasoning(id=new_id("rs"), content=[e.ReasoningTextPart("hm")], kept=kept)
            case 1:
                yield Aside("note", reply=rng.choice(["", "reply"]))
            case 2 if blocks:
                yield code("", continues=rng.choice(blocks).id)
            case 3:
                call = e.FunctionCall(id=new_id("fc"), call_id=new_id("call"), name="f", arguments="{}")
                yield code("f()", waits_for=[call.call_id])
                yield call
            case 4:
                request = e.ApprovalRequest(id=new_id("mcpr"), server_label="s", name="f", arguments="{}")
                yield from (code("g()", waits_for=[request.id]), request)
            case 5:
                prose, block = message("first"), code("2")
                block.written = written(rng, items=[prose.id])
                yield from (prose, block)
            case 6:
                block = code("3")
                text = message(rng.choice(["after", ""]))
                text.before_result_of = block.id
                yield from (block, text)
            case 7:
                block = code("4")
                block.written = e.Written(model=MODEL, call_id="c", place=rng.randint(0, 1), custom=rng.random() < 0.5)
                yield block
            case _:
                block = code("5", tagged=rng.random() < 0.5)
                block.observation = "seen\n" + rng.choice(["", "x" * 400])
                yield block
    if rng.random() < 0.8:
        last = message(rng.choice(["Done.", "Done.", "", " \n"]))
        last.written = written(rng, items=rng.sample(earlier, 1) if earlier and rng.random() < 0.1 else [])
        yield last


def question(rng: random.Random, items: list[Entry]) -> Iterator[Entry]:
    for item in items[-4:]:
        if isinstance(item, e.ClientCall) and rng.random() < 0.8:
            yield e.FunctionCallOutput(id=new_id("fco"), call_id=item.call_id, output="1")
        if isinstance(item, e.ApprovalRequest) and rng.random() < 0.8:
            yield e.Approval(id=new_id("apr"), approval_request_id=item.id, approve=True)
    role, text = rng.choice(["user", "user", "user", "developer", "assistant"]), rng.choice(["Go on", "Go on", ""])
    if rng.random() < 0.05:
        text = "Observation: a client sent it back"
    yield e.InputMessage(id=new_id("msg"), role=role, content=[{"type": "input_text", "text": text}])
    if rng.random() < 0.2:
        yield user("and this")


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_it_is_what_a_whole_rendering_gives(dialect: Dialect) -> None:
    for seed in range(60):
        rng, known = random.Random(seed), KnownPrompt()
        masks = Masks()
        masks.replaced = known.masked
        items: list[Entry] = [e.InputMessage(id="i", role="system", content=[{"type": "input_text", "text": "Act."}])]
        for turn in range(8):
            if rng.random() < 0.15:  # A branch: the conversation goes on after an earlier item.
                items = items[: rng.randint(1, len(items))]
            if rng.random() < 0.1:
                masks.add([item for item in items if not isinstance(item, Aside)], to_save_chars=10)
            items += question(rng, items)
            system = rng.choice(["s", "s", "s", "other instructions"])
            unchanging = len(items)
            for _ in range(2):
                chosen = masks.applied(items)
                whole = dialect.messages(chosen, system=system, model=MODEL)
                assert prompt(known, chosen, dialect, unchanging, system) == whole, f"seed {seed}, turn {turn}"
                items += answer(rng, items)


def test_the_nth_prompt_renders_what_was_added_however_much_is_before(monkeypatch: pytest.MonkeyPatch) -> None:
    known, dialect, rendered = KnownPrompt(), Tags(), []
    render = dialect.messages

    def counted(items: Sequence[Entry], **more: Any) -> list[ChatMessage]:
        rendered.append(len(items))
        return render(items, **more)

    monkeypatch.setattr(dialect, "messages", counted)
    items: list[Entry] = []
    for _ in range(30):
        items.append(user("a question"))
        first = prompt(known, items, dialect)
        assert prompt(known, list(items), dialect) is first
        block = code("1")
        prompt(known, [*items, block], dialect, len(items))
        items += [block, message("Done.")]
    assert max(rendered) <= 4, "the last turn and the new question"
    assert sum(rendered) <= 30 * 6


def test_an_item_that_grows_is_rendered_again() -> None:
    known, items = KnownPrompt(), [user("one"), message("two"), user("three")]
    growing = message("fo")
    prompt(known, [*items, growing], Tags(), len(items))
    growing.content[0].add("ur")
    assert prompt(known, [*items, growing], Tags(), len(items))[-1].content == "four"


def test_it_says_how_much_memory_it_takes() -> None:
    known = KnownPrompt()
    prompt(known, [user("x" * 50_000), message("y" * 50_000), user("z")], Tags())
    assert 100_000 < known.size_bytes < 110_000


@pytest.mark.anyio
async def test_a_users_image_is_loaded_for_one_prompt_of_many() -> None:
    loaded: list[str] = []

    async def get(sha256: str) -> Blob:
        loaded.append(sha256)
        return Blob(b"\xff\xd8\xff", "image/jpeg")

    image = {"type": "input_image", "image_url": f"blob:{'a' * 64}"}
    known, item = KnownPrompt(), e.InputMessage(id="m", role="user", content=[image])
    first = await inline_media([user("one"), item], get=get, known=known.inlined)
    again = await inline_media([user("one"), item, user("two")], get=get, known=known.inlined)
    assert again[1] is first[1] is not item
    assert loaded == ["a" * 64]
    changed = e.InputMessage(id="m", role="user", content=[image | {"image_url": f"blob:{'b' * 64}"}])
    await inline_media([changed], get=get, known=known.inlined)
    assert loaded[1:] == ["b" * 64]
