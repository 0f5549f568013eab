"""Conversations as files: exported by a real server, validated by nbformat, imported again; hostile
ones are refused.
"""

import copy
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import nbformat
import pytest

from codeact.server.routes import exports
from tests.server.conftest import Running

PLOT = "Plot a sine wave."


@pytest.fixture
def http(demo: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{demo.url}/v1", timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def plotted(demo: Running) -> str:
    """A conversation with a plot and a second question."""
    with httpx.Client(base_url=f"{demo.url}/v1", timeout=60, trust_env=False) as http:
        first = http.post("/responses", json={"input": PLOT}).json()
        fence = "Show ``` a fence, <script>alert(1)</script>"
        http.post("/responses", json={"input": fence, "previous_response_id": first["id"]}).raise_for_status()
        return str(first["conversation"]["id"])


def exported(http: httpx.Client, conversation_id: str, format_: str) -> httpx.Response:
    return http.get(f"/conversations/{conversation_id}/export", params={"format": format_}).raise_for_status()


def test_a_notebook_is_valid_and_has_prose_code_outputs_and_images(http: httpx.Client, plotted: str) -> None:
    answer = exported(http, plotted, "ipynb")
    book = nbformat.reads(answer.text, as_version=4)
    nbformat.validate(book)
    assert book.cells[0].source == f"# {PLOT}"
    assert PLOT in book.cells[1].source
    code = next(cell for cell in book.cells if cell.cell_type == "code")
    assert "plt" in code.source
    image = next(output.data["image/png"] for output in code.outputs if "image/png" in output.get("data", {}))
    assert image.startswith("iVBOR")
    assert "codeact:url" not in answer.text


def test_markdown_holds_code_in_fences_and_images_inside(http: httpx.Client, plotted: str) -> None:
    text = exported(http, plotted, "md").text
    assert text.startswith(f"# {PLOT}\n\n## User\n\n{PLOT}\n\n## Assistant")
    assert "```python\n" in text
    assert "](data:image/png;base64,iVBOR" in text


@pytest.mark.parametrize("format_", ["ipynb", "md"])
def test_large_conversations_are_written_beside_the_event_loop(
    http: httpx.Client, plotted: str, format_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    write, media_type = exports._EXPORTS[format_]

    def watched(*given: Any) -> bytes:
        seen.append(threading.current_thread().name)
        return write(*given)

    monkeypatch.setitem(exports._EXPORTS, format_, (watched, media_type))
    assert exported(http, plotted, format_).content
    assert len(seen) == 1
    assert seen != ["server"]


@pytest.mark.parametrize("format_", ["ipynb", "md", "json"])
def test_a_download_is_named_and_never_rendered(http: httpx.Client, plotted: str, format_: str) -> None:
    headers = exported(http, plotted, format_).headers
    assert headers["content-disposition"].startswith(f'attachment; filename="Plot a sine wave.{format_}"')
    assert headers["x-content-type-options"] == "nosniff"


def test_one_branch_can_be_chosen(http: httpx.Client, plotted: str) -> None:
    path = f"/conversations/{plotted}/export"
    first = json.loads(exported(http, plotted, "json").text)["responses"][0]["response"]["id"]
    assert "fence" not in http.get(path, params={"format": "md", "response_id": first}).text
    foreign = http.post("/responses", json={"input": PLOT}).json()["id"]
    for response_id, status in ((foreign, 400), ("resp_no", 404)):
        assert http.get(path, params={"response_id": response_id}).status_code == status


def test_an_archive_comes_back_whole_under_new_ids(http: httpx.Client, plotted: str) -> None:
    archive = exported(http, plotted, "json").json()
    imported = http.post("/conversations/import", json=archive).raise_for_status().json()
    again = exported(http, imported["id"], "json").json()
    assert imported["codeact:summary"]["title"] == PLOT
    assert imported["codeact:summary"]["has_image"] is True
    assert again["blobs"] == archive["blobs"] != []
    old, new = archive["responses"], again["responses"]
    assert {one["response"]["id"] for one in old}.isdisjoint(one["response"]["id"] for one in new)
    assert new[1]["response"]["previous_response_id"] == new[0]["response"]["id"]
    assert again["conversation"]["last_response_id"] == new[1]["response"]["id"]
    for book in ("ipynb", "md"):
        assert exported(http, imported["id"], book).text == exported(http, plotted, book).text
    found = http.get("/conversations", params={"query": "sine", "has_image": "true", "limit": 1}).json()
    assert found["data"][0]["id"] == imported["id"]
    followed = http.post("/responses", json={"input": PLOT, "conversation": imported["id"]}).json()
    assert followed["status"] == "completed"


def test_an_import_cites_no_files_of_containers_that_stayed_behind(http: httpx.Client, plotted: str) -> None:
    archive = exported(http, plotted, "json").json()
    texts = [part for one in archive["responses"] for item in one["response"]["output"] for part in parts(item)]
    texts[0]["annotations"] = [{"type": "container_file_citation", "container_id": "cntr_1", "file_id": "cfile_1"}]
    imported = http.post("/conversations/import", json=archive).raise_for_status().json()
    items = http.get(f"/conversations/{imported['id']}/items").json()["data"]
    assert [part["annotations"] for item in items for part in parts(item)] == [[]] * len(texts)


def parts(item: dict[str, Any]) -> list[dict[str, Any]]:
    """The texts of an answer's message."""
    return [part for part in item.get("content", []) if part["type"] == "output_text"]


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def _blob(archive: dict[str, Any], **fields: Any) -> None:
    archive["blobs"][0].update(fields)


def _response(archive: dict[str, Any], **fields: Any) -> None:
    archive["responses"][1]["response"].update(fields)


def _call(archive: dict[str, Any]) -> dict[str, Any]:
    items = archive["responses"][0]["response"]["output"]
    return next(item for item in items if item["type"] == "code_interpreter_call")


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another object": (lambda a: a.update(object="conversation"), "object"),
    "another version": (lambda a: a.update(version=2), "version"),
    "an unknown field": (lambda a: a.update(owner="root"), "body"),
    "a long title": (lambda a: a["conversation"].update(title="x" * 201), "conversation.title"),
    "a wrong hash": (lambda a: _blob(a, sha256="0" * 64), "blobs[0].sha256"),
    "a type with parameters": (lambda a: _blob(a, media_type="text/html; charset=x"), "blobs[0].media_type"),
    "no base64": (lambda a: _blob(a, data="?"), "blobs[0].data"),
    "a later ancestor": (lambda a: _response(a, previous_response_id="resp_x"), "responses[1].response.previous"),
    "a repeated id": (lambda a: _response(a, id=a["responses"][0]["response"]["id"]), "responses[1].response.id"),
    "a time of never": (lambda a: _response(a, created_at=1e300), "responses[1].response.created_at"),
    "a huge number": (lambda a: _response(a, max_output_tokens=2**70), "responses[1]"),
    "an unknown part": (lambda a: a["responses"][0]["input"][0].update(content=[{"$where": "1"}]), "responses[0].in"),
    "a foreign image": (
        lambda a: _call(a).update(outputs=[{"type": "image", "url": "https://example.com/x.png"}]),
        "responses[0].response.output",
    ),
    "a foreign blob": (
        lambda a: _call(a)["codeact:notebook_outputs"].append(
            {"output_type": "display_data", "data": {}, "metadata": {"codeact:url": {"image/png": "//example.com"}}}
        ),
        "responses[0].response.output",
    ),
    "a deep nest": (
        lambda a: _call(a)["codeact:notebook_outputs"].append(
            {"output_type": "display_data", "data": {"application/json": deep(200)}, "metadata": {}}
        ),
        "responses[0]",
    ),
    "an unknown last response": (lambda a: a["conversation"].update(last_response_id="resp_x"), "conversation.last"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive_is_refused_by_name(http: httpx.Client, plotted: str, case: str) -> None:
    change, place = HOSTILE[case]
    archive = copy.deepcopy(exported(http, plotted, "json").json())
    change(archive)
    before = http.get("/conversations").json()["first_id"]
    answer = http.post("/conversations/import", json=archive)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"].startswith(place)
    assert http.get("/conversations").json()["first_id"] == before


@pytest.mark.parametrize("body", ["", "[]", "{", "[" * 100_000, '{"object": "\\ud800"}'])
def test_what_is_no_archive_at_all_is_refused(http: httpx.Client, body: str) -> None:
    assert http.post("/conversations/import", content=body).status_code == 400


def test_what_was_under_way_is_imported_as_failed(http: httpx.Client, plotted: str) -> None:
    archive = exported(http, plotted, "json").json()
    _response(archive, status="in_progress")
    imported = http.post("/conversations/import", json=archive).json()
    assert imported["codeact:summary"]["status"] == "failed"


def test_an_archive_chooses_neither_image_nor_memory_of_a_sandbox_that_verifies(
    http: httpx.Client, plotted: str
) -> None:
    archive = exported(http, plotted, "json").json()
    recorded = archive["responses"][0]["response"]["codeact:environment"]
    recorded |= {"image": "evil.example/miner:latest", "memory_mb": 1_000_000}
    imported = http.post("/conversations/import", json=archive).raise_for_status().json()
    again = exported(http, imported["id"], "json").json()["responses"][0]["response"]
    left = {name: value for name, value in recorded.items() if name not in ("image", "memory_mb")}
    assert again["codeact:environment"] == left
    found = http.post(f"/responses/{again['id']}/codeact:verify").raise_for_status().json()
    assert found["result"] == "equal"
