"""Each page with a real history, using Streamlit's own test driver."""

import json
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from codeact.dashboard import changes
from codeact.evals.record import Attempt, Plan, Setup, Step, append, write_plan
from codeact.models.demo.model import EXAMPLES
from codeact.store import open_store
from tests.server.conftest import Running, in_thread
from tests.streamlit_app.conftest import ask, conversation_of, shown

pytest.importorskip("streamlit", reason="make install-dashboard")

TITLES = {
    "overview": "Overview",
    "conversations": "Conversations",
    "conversation": "Conversation",
    "feedback": "Feedback",
    "errors": "Errors",
    "latency": "Latency",
    "cost": "Cost and tokens",
    "evaluations": "Evaluations",
    "live": "Live",
    "sandboxes": "Sandboxes",
    "audit": "Audit",
    "health": "Health",
}
App = Callable[..., Any]


def metric(page: Any, label: str) -> str:
    return str(next(one.value for one in page.metric if one.label.startswith(label)))


def button(page: Any, label: str) -> Any:
    return next(one for one in page.button if one.label == label)


def wait_for(page: Any, holds: Callable[[], bool]) -> None:
    """Runs the page again until the condition holds, as its auto-refresh would."""
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)  # Running the page without a pause keeps a processor busy.
        page.run()


@pytest.mark.parametrize(("name", "title"), TITLES.items())
def test_a_page_shows_without_any_error(app: App, name: str, title: str) -> None:
    page = app(name)
    assert [one.value for one in page.title] == [title]
    assert [one.value for one in page.error] == []
    assert len(page.exception) == 0


@pytest.mark.parametrize("name", ["overview", "latency", "cost", "feedback", "audit"])
def test_an_empty_page_says_what_to_do(app: App, name: str) -> None:
    [hint] = app(name, owner="nobody").info
    assert hint.value.startswith("**No ")


def stored(server: Running, collection: str, query: dict[str, Any]) -> int:
    """How many documents match; other tests may have added some."""

    async def count() -> int:
        async with open_store(server.settings) as store:
            database = store._client.get_default_database("codeact")
            return await database[collection].count_documents(query)

    return in_thread(anyio.run, count)


def test_the_overview_counts_runs_and_times(app: App, server: Running) -> None:
    answers = {"created_at": {"$gt": datetime(2000, 1, 1, tzinfo=UTC)}}  # Warm-ups are stored below 1970.
    runs, failed = (stored(server, "responses", answers | more) for more in ({}, {"response.status": "failed"}))
    page = app("overview", period="24 h")
    assert runs >= len(EXAMPLES)
    assert (metric(page, "Runs"), metric(page, "Failed")) == (str(runs), f"{100 * failed / runs:.1f} %")
    assert metric(page, "Total time").endswith("s")
    assert len(page.get("vega_lite_chart")) == 3
    assert "No prices are known for these models." in [one.value for one in page.caption]


def test_conversations_are_found_by_words(app: App) -> None:
    page = app("conversations", q="fibonacci")
    assert list(page.dataframe[0].value["title"]) == ["What is the 100th Fibonacci number?"]
    page.text_input(key="q").set_value("nothing has these").run()
    assert "Nothing fits" in page.info[0].value


def test_conversations_are_filtered_by_facets_and_sorted(app: App) -> None:
    [title] = app("conversations", exception="TypeError").dataframe[0].value["title"]
    assert "mistake" in title
    tokens = list(app("conversations", sort="most tokens").dataframe[0].value["tokens"])
    assert tokens == sorted(tokens, reverse=True)


def test_a_query_that_cannot_be_understood_is_explained(app: App) -> None:
    page = app("conversations", q="$")
    assert [shown(one.value) for one in page.error] == ["'query' contains no word of at least two letters."]


FILTERS = {
    "q": "fibonacci",
    "sort": "most tokens",
    "age": "24 h",
    "owner": "local",
    "model": "demo",
    "status": "completed",
    "error": "no",
    "image": "no",
    "pinned": "no",
    "rating": "none",
    "min_tokens": "1",
    "max_duration_s": "1000.0",
}


def test_every_filter_comes_from_the_address(app: App) -> None:
    page = app("conversations", **FILTERS)
    assert list(page.dataframe[0].value["title"]) == ["What is the 100th Fibonacci number?"]
    for name, value in FILTERS.items():
        assert str(page.session_state[name]) == value
    for name, value in {
        "owner": "nobody",
        "exception": "KeyError",
        "tag": "none",
        "image": "yes",
        "age": "1 h",
    }.items():
        page = app("conversations", **FILTERS | {name: value, "max_tokens": "2" if name == "age" else ""})
        assert [one.value[:18] for one in page.info] == ["**Nothing fits.** "], name


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("conversations", dict.fromkeys(FILTERS, "$<b>") | {"after": "nowhere"}),
        ("conversations", {"after": "99999", "sort": "longest"}),
        ("conversation", {"id": "![x](y)", "view": "no", "part": "-1"}),
        ("overview", {"period": "99 y", "refresh": "perhaps"}),
        ("audit", {"after": "$", "period": ""}),
    ],
)
def test_an_address_with_nonsense_is_answered_with_a_page_or_a_sentence(app: App, name: str, query: Any) -> None:
    page = app(name, **query)
    assert len(page.exception) == 0
    assert not any("failed" in one.value for one in page.error)


def test_a_conversation_shows_code_its_error_and_what_mended_it(app: App, server: Running) -> None:
    page = app("conversation", id=conversation_of(server, "mistake"))
    assert [one.value for one in page.title] == ["Make a mistake, then fix it"]
    code = [one.value for one in page.code]
    assert any("prices" in text for text in code)
    assert "12.70" in code
    assert page.error[0].value.startswith("**TypeError**")
    assert len(page.get("vega_lite_chart")) == 1


def test_a_conversation_shows_images_and_dataframes(app: App, server: Running) -> None:
    assert len(app("conversation", id=conversation_of(server, "sine")).get("image")) == 1
    page = app("conversation", id=conversation_of(server, "sales"))
    assert len(page.dataframe) == 1


def test_a_conversation_goes_on_in_the_chat_and_leaves_as_a_file(app: App, server: Running) -> None:
    from codeact.dashboard.bridge import ask as read
    from codeact.dashboard.downloads import FORMATS, exported
    from codeact.dashboard.trail import Reader

    conversation_id = conversation_of(server, "sine")
    page = app("conversation", id=conversation_id)
    [link] = page.get("link_button")
    assert link.proto.url == f"{server.url}/c/{conversation_id}"
    assert [one.proto.label for one in page.get("download_button")] == list(FORMATS)
    conversation = read(lambda store: store.history.get(conversation_id))
    files = {kind: exported(conversation, kind, Reader(None, "")) for kind in FORMATS}
    assert json.loads(files["ipynb"])["nbformat"] == 4
    assert json.loads(files["json"])["object"] == "codeact:conversation"
    assert b"data:image/png;base64," in files["md"]


def test_a_conversation_that_is_not_there_is_a_sentence(app: App) -> None:
    page = app("conversation", id="conv_none")
    assert [shown(one.value) for one in page.error] == ["There is no conversation 'conv_none'."]


def test_the_replay_shows_each_moment(app: App, server: Running) -> None:
    page = app("conversation", id=conversation_of(server, "mistake"), view="Replay")
    [slider] = page.slider
    assert slider.value == slider.max
    slider.set_value(slider.max // 2).run()
    assert "still answering …" in [one.value for one in page.caption]
    page.slider[0].set_value(0).run()
    assert len(page.chat_message) == 0
    button(page, "Play").click().run()
    assert button(page, "Pause")
    assert not page.slider, "a browser that is late would send an old value of it"
    wait_for(page, lambda: len(page.chat_message) > 0)
    page.session_state["played"] = (0.0, 0)
    wait_for(page, lambda: len(page.slider) == 1)
    assert page.slider[0].value == page.slider[0].max
    assert "still answering …" not in [one.value for one in page.caption]


def test_errors_are_counted_with_their_code(app: App, server: Running) -> None:
    page = app("errors", period="24 h")
    assert metric(page, "Exceptions") == str(stored(server, "items", {"item.codeact:result.error": {"$ne": None}}))
    assert any(one.label.startswith("**TypeError**") for one in page.expander)


def test_the_pool_is_shown_as_it_is(app: App, server: Running) -> None:
    page = app("sandboxes")
    assert int(metric(page, "Leased")) == server.state.pool.started.value.stats().leased  # type: ignore[union-attr]
    assert metric(page, "Leaked") == "0"


def test_the_pools_of_all_servers_are_added_up_and_listed(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_others(method: str, path: str, **more: Any) -> dict[str, Any]:
        own = asked(method, path, **more)
        other = {name: own[name] for name in ("backend", "summary", "max_size", "leaked")}
        silent = dict.fromkeys(other) | {"server": "c/x/3/4", "pool": None, "summary": "This server does not answer."}
        others = [other | {"server": "b/x/2/4", "pool": own["pool"] | {"leased": 3, "warm": 0}}, silent]
        return own | {"server": "a/x/1/4", "pool": own["pool"] | {"leased": 2}, "others": others}

    asked = changes.server
    monkeypatch.setattr(changes, "server", with_others)
    page = app("sandboxes")
    assert metric(page, "Leased") == "5"
    table = page.dataframe[0].value
    assert list(table["Server"]) == ["a/1", "b/2", "c/3"]
    assert list(table["Sandboxes"])[-1] == "This server does not answer."


def test_the_audit_log_is_filtered(app: App) -> None:
    actions = list(app("audit").dataframe[0].value["action"])
    assert actions
    page = app("audit", action=actions[0])
    assert set(page.dataframe[0].value["action"]) == {actions[0]}


def test_a_run_is_seen_while_it_goes_on_and_can_be_stopped(app: App, server: Running) -> None:
    text = next(example for example in EXAMPLES if example.startswith("Count"))
    response = ask(server, text, background=True)
    page = app("live")
    wait_for(page, lambda: any(one.label == "Tail" for one in page.button))
    assert not any(one.label == "Stop" for one in page.button)
    page.toggle(key="changes").set_value(True).run()
    button(page, "Tail").click().run()
    wait_for(page, lambda: len(page.code) > 0)
    button(page, "Stop").click().run()
    wait_for(page, lambda: len(page.info) > 0)
    assert "Nothing is running" in page.info[0].value
    found = app("conversation", id=response["conversation"]["id"])
    assert any("cancelled" in one.value for one in found.markdown)


def test_conversations_are_pinned_and_deleted_only_where_changes_are_allowed(app: App, server: Running) -> None:
    conversation_id = ask(server, EXAMPLES[0])["conversation"]["id"]
    page = app("conversation", id=conversation_id)
    assert not any(one.label in ("Pin", "Delete this conversation") for one in page.button)
    page.toggle(key="changes").set_value(True).run()
    button(page, "Pin").click().run()
    assert button(page, "Unpin")
    button(page, "Delete this conversation").click().run()
    gone = app("conversation", id=conversation_id)
    assert [shown(one.value) for one in gone.error] == [f"There is no conversation '{conversation_id}'."]


def test_a_database_that_does_not_answer_is_a_sentence(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    import streamlit

    monkeypatch.setenv("CODEACT_MONGODB_URI", "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200")
    streamlit.cache_resource.clear()
    try:
        page = app("conversations")
        assert "No MongoDB answers at mongodb://127.0.0.1:1" in shown(page.error[0].value)
        assert len(page.exception) == 0
    finally:
        monkeypatch.undo()
        streamlit.cache_resource.clear()


def test_a_conversation_shows_where_it_was_compacted_and_what_the_model_reads_from_there(
    app: App, server: Running
) -> None:
    asked = ask(server, "What is the 100th Fibonacci number?")
    ask(server, "", input=[{"type": "compaction_trigger"}], previous_response_id=asked["id"])
    page = app("conversation", id=asked["conversation"]["id"])
    [summary] = [each for each in page.expander if each.label == "Earlier messages were summarised"]
    assert "blocks of code had run" in summary.code[0].value


def evaluation(directory: Path, passed: int, of: int, *, started_at: float) -> None:
    """Puts the results of an evaluation where `codeact eval` does."""
    directory.mkdir(parents=True)
    setup = Setup(model="openai/small-1")
    tasks = [f"task-{number}" for number in range(of)]
    write_plan(directory, Plan(suite="mine", tasks=tasks, setups=[setup], started_at=started_at))
    for number, task in enumerate(tasks):
        solved = number < passed
        append(
            directory,
            Attempt(
                task=task,
                setup=setup,
                repeat=0,
                seed=None,
                passed=solved,
                failure=None if solved else "wrong",
                score=float(solved),
                reason="" if solved else "expected <b>7</b>",
                transcript=[Step(kind="code", text="print(6)", output="6\u202e")],
            ),
        )


def test_evaluations_show_their_figures_what_changed_and_their_transcripts(app: App, server: Running) -> None:
    folder = server.settings.data_dir / "evals"
    try:
        evaluation(folder / "mine-1", 1, 8, started_at=1_000_000.0)
        evaluation(folder / "mine-2", 7, 8, started_at=2_000_000.0)
        (folder / "broken").mkdir()
        (folder / "broken" / "run.json").write_text("{")
        page = app("evaluations")
        assert len(page.exception) == 0
        assert list(page.dataframe[0].value["run"]) == ["mine-2", "mine-1"]
        assert list(page.dataframe[0].value["setups"]) == ["openai/small-1"] * 2
        assert list(page.dataframe[1].value["solved"]) == ["7 of 8"]
        assert list(page.dataframe[1].value["setup"]) == ["openai/small-1"]
        page.selectbox(key="other").select("mine-1").run()
        assert any(
            "1 of 8 before, 7 of 8 now. This is more than chance: p = 0.031." in one.value for one in page.markdown
        )
        page.selectbox(key="task").select("task-7").run()
        assert "expected <b>7</b>" in [one.value for one in page.text]
        assert "6⟨U+202E⟩" in [one.value for one in page.code]
    finally:
        shutil.rmtree(folder)
    [hint] = app("evaluations").info
    assert "codeact eval" in shown(hint.value)
