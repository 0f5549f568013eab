"""Containers and their files with the official client: uploads, files that code writes, citations, downloads."""

import base64
import io
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import httpx
import pytest
from openai import APIStatusError, BadRequestError, NotFoundError, OpenAI
from openai.types.responses import ResponseOutputText

from codeact.store import Container
from codeact.workspaces.containers import Containers
from sandbox_pool.errors import SandboxError
from sandbox_pool.sandbox.files import _Answers
from tests.model_server import ModelServer
from tests.server.conftest import Running


@pytest.fixture
def client(scripted: Running, model_server: ModelServer) -> Iterator[OpenAI]:
    model_server.reset()
    with OpenAI(base_url=f"{scripted.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def container_id(scripted: Running) -> str:
    with OpenAI(base_url=f"{scripted.url}/v1", api_key="none", max_retries=0) as client:
        return client.containers.create(name="shared").id


def conversation_of(container: Any) -> str:
    return str(container.model_extra["codeact:conversation_id"])


def cited(response: Any) -> list[Any]:
    texts = [part for item in response.output if item.type == "message" for part in item.content]
    assert all(isinstance(part, ResponseOutputText) for part in texts)
    return [annotation for part in texts for annotation in part.annotations]


def test_a_container_is_made_listed_found_and_deleted(client: OpenAI, scripted: Running) -> None:
    older = client.containers.create(name="older")
    container = client.containers.create(name="scratch")
    assert (container.object, container.status, container.name) == ("container", "running", "scratch")
    assert client.containers.retrieve(container.id).id == container.id
    # Those of other tests' answers may have come since.
    listed = [one.id for one in client.containers.list(limit=20)]
    assert listed.index(container.id) < listed.index(older.id)
    client.containers.delete(older.id)
    assert [one.id for one in client.containers.list(name="scratch")] == [container.id]
    client.containers.delete(container.id)
    with pytest.raises(NotFoundError):
        client.containers.retrieve(container.id)
    with pytest.raises(NotFoundError):
        client.containers.files.list(container.id)


def test_code_reads_an_upload_and_what_it_writes_is_cited_and_can_be_downloaded(
    client: OpenAI, model_server: ModelServer
) -> None:
    container = client.containers.create(name="numbers")
    tool = {"type": "code_interpreter", "container": container.id}
    screenshot = client.containers.files.create(container.id, file=("10.00\u202fAM cafe\u0301.txt", b"1"))
    assert screenshot.path == "/mnt/data/10.00\u202fAM caf\u00e9.txt"
    client.containers.files.delete(screenshot.id, container_id=container.id)
    uploaded = client.containers.files.create(container.id, file=("in put.txt", b"20\n22\n"))
    assert (uploaded.path, uploaded.bytes, uploaded.source) == ("/mnt/data/in put.txt", 6, "user")
    model_server.reply(
        "<execute>\ntotal = sum(map(int, open('in put.txt')))\n"
        "open('sum.txt', 'w').write(str(total))\nopen('.hidden', 'w').close()\n</execute>\n"
    )
    model_server.reply("The sum is in sum.txt.")
    events = list(client.responses.create(input="add", tools=[tool], stream=True))  # type: ignore[list-item]
    response = events[-1].response  # type: ignore[union-attr]
    [citation] = cited(response)
    assert citation.type == "container_file_citation"
    assert (citation.container_id, citation.filename) == (container.id, "sum.txt")
    assert response.output_text[citation.start_index : citation.end_index] == "sum.txt"
    [added] = [event for event in events if event.type == "response.output_text.annotation.added"]
    assert added.annotation["file_id"] == citation.file_id  # type: ignore[index]
    assert client.containers.files.content.retrieve(citation.file_id, container_id=container.id).read() == b"42"
    assert {file.path for file in client.containers.files.list(container.id)} == {
        "/mnt/data/in put.txt",
        "/mnt/data/sum.txt",
    }
    assert client.responses.retrieve(response.id).output[-1].content[0].annotations[0] == citation  # type: ignore[union-attr, index]


def test_a_changed_file_is_cited_again_and_the_old_version_stays(client: OpenAI, model_server: ModelServer) -> None:
    versions = []
    previous: str | None = None
    for number in (1, 22):
        model_server.reply(f"<execute>\nopen('a.txt', 'w').write('{number}')\n</execute>\n")
        model_server.reply("Done.")
        response = client.responses.create(input="write", previous_response_id=previous)
        versions += cited(response)
        previous = response.id
    model_server.reply("<execute>\n1\n</execute>\n")
    model_server.reply("Nothing new.")
    assert cited(client.responses.create(input="no file", previous_response_id=previous)) == []
    contents = [
        client.containers.files.content.retrieve(one.file_id, container_id=one.container_id).read() for one in versions
    ]
    assert contents == [b"1", b"22"]
    [listed] = client.containers.files.list(versions[0].container_id)
    assert listed.id == versions[1].file_id


def test_files_outlive_their_sandbox(client: OpenAI, model_server: ModelServer, scripted: Running) -> None:
    model_server.reply("<execute>\nopen('kept.txt', 'w').write('kept')\nimport os; os._exit(1)\n</execute>\n")
    model_server.reply("<execute>\nopen('kept.txt', 'w').write('kept')\n</execute>\n")
    model_server.reply("See kept.txt.")
    [citation] = cited(client.responses.create(input="write"))
    model_server.reply("<execute>\nimport os; os._exit(1)\n</execute>\n")
    model_server.reply("It died.")
    container = client.containers.retrieve(citation.container_id)
    client.responses.create(input="die", conversation=conversation_of(container))
    assert client.containers.retrieve(container.id).status == "expired"
    assert [file.path for file in client.containers.files.list(container.id)] == ["/mnt/data/kept.txt"]
    assert client.containers.files.content.retrieve(citation.file_id, container_id=container.id).read() == b"kept"
    with pytest.raises(APIStatusError) as gone:
        client.containers.files.create(container.id, file=("late.txt", b"x"))
    assert (gone.value.status_code, gone.value.code) == (410, "container_expired")


def test_a_deleted_file_is_gone_from_the_sandbox_too(client: OpenAI, model_server: ModelServer) -> None:
    container = client.containers.create(name="deleting")
    file = client.containers.files.create(container.id, file=("a.txt", b"x"))
    client.containers.files.delete(file.id, container_id=container.id)
    assert list(client.containers.files.list(container.id)) == []
    model_server.reply("<execute>\nimport os; os.listdir()\n</execute>\n")
    model_server.reply("Done.")
    response = client.responses.create(input="look", conversation=conversation_of(container))
    assert "a.txt" not in response.output[0].outputs[0].logs  # type: ignore[union-attr, index]


def test_what_code_wrote_is_saved_and_never_rendered(client: OpenAI, model_server: ModelServer) -> None:
    model_server.reply("<execute>\nopen('ä\"\\n.html', 'w').write('<script>alert(1)</script>')\n</execute>\n")
    model_server.reply("Done.")
    [citation] = cited(client.responses.create(input="write"))
    answer = client.containers.files.content.retrieve(citation.file_id, container_id=citation.container_id)
    headers = answer.response.headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"].startswith('attachment; filename="___.html"')
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"].startswith("sandbox")


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/../../b", "..\\..\\b"])
def test_an_upload_cannot_leave_the_workspace(client: OpenAI, container_id: str, name: str) -> None:
    assert client.containers.files.create(container_id, file=(name, b"x")).path in ("/mnt/data/passwd", "/mnt/data/b")


@pytest.mark.parametrize("name", ["..", "x" * 300])
def test_a_name_that_is_none_is_refused(client: OpenAI, container_id: str, name: str) -> None:
    with pytest.raises(BadRequestError):
        client.containers.files.create(container_id, file=(name, b"x"))


def test_what_is_no_form_with_a_file_is_refused(scripted: Running, container_id: str) -> None:
    path = f"{scripted.url}/v1/containers/{container_id}/files"
    with httpx.Client(timeout=60, trust_env=False) as http:
        plain = http.post(path, content=b"x", headers={"Content-Type": "text/plain"})
        assert (plain.status_code, plain.json()["error"]["param"]) == (415, "file")
        for answer in (
            http.post(path, files={"file": (None, "text")}),
            http.post(path, content=b"x", headers={"Content-Type": "multipart/form-data"}),
            http.post(path, content=b"x", headers={"Content-Type": "multipart/form-data; boundary=y"}),
        ):
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file"), answer.text


def test_a_large_file_stays_in_the_sandbox_and_streams_out(
    client: OpenAI, container_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codeact.workspaces.containers.STORED_FILE_BYTES", 1000)
    monkeypatch.setattr("codeact.server.routes.containers.STORED_FILE_BYTES", 1000)
    content = os.urandom(300_000)
    file = client.containers.files.create(container_id, file=("large.bin", content))
    assert client.containers.files.content.retrieve(file.id, container_id=container_id).read() == content
    assert file.id in [one.id for one in client.containers.files.list(container_id)]


def test_a_container_of_another_conversation_is_refused(client: OpenAI, container_id: str) -> None:
    conversation = client.conversations.create()
    for named, status in ((container_id, 400), ("cntr_no", 404)):
        tool = {"type": "code_interpreter", "container": named}
        with pytest.raises(APIStatusError) as refused:
            client.responses.create(input="x", conversation=conversation.id, tools=[tool])  # type: ignore[list-item]
        assert refused.value.status_code == status


def test_wrong_parameters_are_refused_by_name(client: OpenAI) -> None:
    for wrong, param in (
        ({"name": ""}, "name"),
        ({"name": "x", "memory_limit": "64g"}, "memory_limit"),
        ({"name": "x", "expires_after": {"anchor": "last_active_at", "minutes": 10**6}}, "expires_after.minutes"),
    ):
        with pytest.raises(BadRequestError) as refused:
            client.containers.create(**wrong)  # type: ignore[arg-type]
        assert refused.value.param == param
    with pytest.raises(NotFoundError) as missing:
        client.containers.create(name="x", file_ids=["file_1"])
    assert missing.value.param == "file_ids"


def test_another_owners_container_is_not_found(
    make_server: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = make_server(api_keys="one,two", data_dir=tmp_path_factory.mktemp("containers"))
    mine, other = (OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) for key in ("one", "two"))
    with mine, other:
        container = mine.containers.create(name="mine")
        file = mine.containers.files.create(container.id, file=("a.txt", b"x"))
        assert list(other.containers.list()) == []
        ids = {"container_id": container.id}
        for refused in (
            lambda: other.containers.retrieve(container.id),
            lambda: other.containers.delete(container.id),
            lambda: other.containers.files.list(container.id),
            lambda: other.containers.files.create(container.id, file=("b.txt", b"x")),
            lambda: other.containers.files.retrieve(file.id, **ids),
            lambda: other.containers.files.content.retrieve(file.id, **ids),
            lambda: other.containers.files.delete(file.id, **ids),
            lambda: other.responses.create(input=asked({"type": "input_file", "file_id": file.id})),
        ):
            with pytest.raises(NotFoundError):
                refused()
        assert mine.containers.files.content.retrieve(file.id, **ids).read() == b"x"


@contextmanager
def dying_before(server: Running, container: Any, function: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kills the container's kernel in the middle of a file call, before it uses this function."""
    original = getattr(_Answers, function)
    workspace = server.state.workspaces.get(conversation_of(container), owner="local")

    async def killed(answers: _Answers, *arguments: Any, **named: Any) -> Any:
        await (await workspace.sandbox()).close()
        return await original(answers, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(_Answers, function, killed)
        yield


def test_a_container_that_dies_during_an_upload_has_expired(
    client: OpenAI, scripted: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = client.containers.create(name="dying")
    with dying_before(scripted, container, "send", monkeypatch), pytest.raises(APIStatusError) as gone:
        client.containers.files.create(container.id, file=("a.bin", os.urandom(1_000_000)))
    assert (gone.value.status_code, gone.value.code) == (410, "container_expired")
    assert client.containers.retrieve(container.id).status == "expired"


def test_a_container_that_dies_while_it_is_listed_or_cleared_shows_what_it_had(
    client: OpenAI, scripted: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = client.containers.create(name="dying")
    files = [client.containers.files.create(container.id, file=(name, b"x")) for name in ("a", "b")]
    with dying_before(scripted, container, "next", monkeypatch):
        assert [file.path for file in client.containers.files.list(container.id, order="asc")] == [
            "/mnt/data/a",
            "/mnt/data/b",
        ]
    client.containers.files.delete(files[0].id, container_id=container.id)
    assert [file.path for file in client.containers.files.list(container.id)] == ["/mnt/data/b"]


def test_a_download_that_dies_before_its_first_byte_is_an_error_by_name_and_later_is_cut_off(
    client: OpenAI, scripted: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codeact.server.routes.containers.STORED_FILE_BYTES", 1000)
    for begun in (False, True):
        container = client.containers.create(name="dying")
        file = client.containers.files.create(container.id, file=("a.bin", os.urandom(3_000_000)))
        url = f"{scripted.url}/v1/containers/{container.id}/files/{file.id}/content"
        with (
            httpx.stream("GET", url, trust_env=False, timeout=60) if begun else nullcontext() as answer,
            dying_before(scripted, container, "next", monkeypatch),
        ):
            if answer is None:
                expired = httpx.get(url, trust_env=False, timeout=60)
                assert (expired.status_code, expired.json()["error"]["code"]) == (410, "container_expired")
            else:
                with pytest.raises(httpx.RemoteProtocolError):
                    answer.read()


def test_another_server_of_the_database_tells_the_truth_about_a_container(
    client: OpenAI, make_server: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codeact.server.routes.containers.STORED_FILE_BYTES", 2)
    container = client.containers.create(name="held")
    kept, large = (client.containers.files.create(container.id, file=("f", content)) for content in (b"k", b"large"))
    server = make_server(pool_min=0)
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as other:
        assert other.containers.retrieve(container.id).status == "running"
        assert [one.status for one in other.containers.list(name="held")] == ["running"]
        assert other.containers.files.content.retrieve(kept.id, container_id=container.id).read() == b"k"
        assert [file.id for file in other.containers.files.list(container.id)] == [large.id]
        for refused in (
            lambda: other.containers.files.content.retrieve(large.id, container_id=container.id),
            lambda: other.containers.files.create(container.id, file=("late", b"x")),
            lambda: other.containers.files.delete(large.id, container_id=container.id),
            lambda: other.containers.delete(container.id),
        ):
            with pytest.raises(APIStatusError) as elsewhere:
                refused()
            assert (elsewhere.value.status_code, elsewhere.value.code) == (409, "container_elsewhere")
            assert "the server that answers its conversation" in elsewhere.value.message
        client.containers.delete(container.id)
        with pytest.raises(NotFoundError):
            other.containers.retrieve(container.id)


# ---- files of containers as input ------------------------------------------------------------------------


def asked(*parts: dict[str, Any]) -> Any:
    return [{"role": "user", "content": [{"type": "input_text", "text": "look"}, *parts]}]


def test_a_file_that_code_wrote_is_given_to_another_conversation(client: OpenAI, model_server: ModelServer) -> None:
    model_server.reply("<execute>\nimport os; os.mkdir('d'); open('d/a.csv', 'w').write('1,2')\n</execute>\n")
    model_server.reply("See d/a.csv.")
    [citation] = cited(client.responses.create(input="write"))
    for part, name in (({}, "a.csv"), ({"filename": "b.csv"}, "b.csv")):
        model_server.reply(f"<execute>\nprint(open('{name}').read())\n</execute>\n")
        model_server.reply("There.")
        given = asked({"type": "input_file", "file_id": citation.file_id, **part})
        response = client.responses.create(input=given)
        assert response.output[0].outputs[0].logs == "1,2\n"  # type: ignore[union-attr, index]
        assert response.output[0].container_id != citation.container_id  # type: ignore[union-attr]
        assert f"The user's file '{name}', 3 bytes" in str(model_server.requests[-1].messages)
        [item] = client.responses.input_items.list(response.id)
        assert item.content[-1].filename == name  # type: ignore[union-attr]
        assert cited(response) == []


def test_a_file_is_copied_from_one_container_to_another(
    client: OpenAI, model_server: ModelServer, container_id: str
) -> None:
    file = client.containers.files.create(container_id, file=("copied.txt", b"same"))
    to = client.containers.create(name="to")
    copied = client.containers.files.create(to.id, file_id=file.id)
    assert (copied.path, copied.bytes, copied.container_id) == ("/mnt/data/copied.txt", 4, to.id)
    model_server.reply("<execute>\nprint(open('copied.txt').read())\n</execute>\n")
    model_server.reply("Same.")
    response = client.responses.create(input="read", conversation=conversation_of(to))
    assert response.output[0].outputs[0].logs == "same\n"  # type: ignore[union-attr, index]
    for named, status, param in (
        ({"file_id": "cfile_no"}, 404, "file_id"),
        ({"file": b"x", "file_id": file.id}, 400, "file_id"),
        ({"file_id": file.id, "extra_body": {"name": "y"}}, 400, "name"),
    ):
        with pytest.raises(APIStatusError) as refused:
            client.containers.files.create(to.id, **named)  # type: ignore[arg-type]
        assert (refused.value.status_code, refused.value.param) == (status, param)


def test_a_picture_of_a_container_is_shown_to_the_model_as_what_it_is(
    client: OpenAI, model_server: ModelServer, container_id: str
) -> None:
    pixel = b"\x89PNG\r\n\x1a\n not a real picture"
    picture = client.containers.files.create(container_id, file=("p.bin", pixel))
    model_server.reply("A pixel.")
    response = client.responses.create(input=asked({"type": "input_image", "file_id": picture.id, "detail": "auto"}))
    shown = model_server.requests[-1].messages[-1]["content"][1]["image_url"]["url"]
    assert shown == f"data:image/png;base64,{base64.b64encode(pixel).decode()}"
    [item] = client.responses.input_items.list(response.id)
    url = item.content[1].image_url  # type: ignore[union-attr]
    answer = httpx.get(str(client.base_url.join(url)), trust_env=False)
    assert (answer.content, answer.headers["content-type"]) == (pixel, "image/png")


def test_what_cannot_be_given_is_refused_by_name(
    client: OpenAI, container_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = client.containers.files.create(container_id, file=("t.png", b"no picture"))
    monkeypatch.setattr("codeact.server.routes.containers.STORED_FILE_BYTES", 2)
    large = client.containers.files.create(container_id, file=("large", b"large"))
    monkeypatch.setattr("codeact.server.routes.containers.STORED_FILE_BYTES", 5)
    monkeypatch.setattr("codeact.runs.media.IMAGE_BYTES", 4)
    picture = client.containers.files.create(container_id, file=("p", b"GIF89"))
    image, file = {"type": "input_image", "detail": "auto"}, {"type": "input_file"}
    for part, status, code in (
        (image | {"file_id": text.id}, 400, "no_image"),
        (image | {"file_id": large.id}, 400, "file_too_large"),
        (file | {"file_id": large.id}, 400, "file_too_large"),
        (file | {"file_id": "cfile_no"}, 404, "not_found"),
        (image | {"file_id": "cfile_no"}, 404, "not_found"),
        (image | {"file_id": picture.id}, 400, "file_too_large"),
    ):
        with pytest.raises(APIStatusError) as refused:
            client.responses.create(input=asked(part))
        assert (refused.value.status_code, refused.value.code) == (status, code), part


def test_a_container_that_cannot_be_made_leaves_no_conversation_behind(
    client: OpenAI, scripted: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def conversations() -> list[str]:
        found = httpx.get(f"{scripted.url}/v1/conversations", params={"limit": 100}).json()["data"]
        return [one["id"] for one in found]

    async def fails(self: Containers, conversation_id: str, **more: object) -> Container:
        raise SandboxError("The engine is gone.")

    before = conversations()
    with monkeypatch.context() as broken:
        broken.setattr(Containers, "create", fails)
        with pytest.raises(APIStatusError, match="The engine is gone"):
            client.containers.create(name="never")
    assert conversations() == before


def test_files_named_for_a_container_are_in_its_working_directory(
    client: OpenAI, model_server: ModelServer, container_id: str
) -> None:
    ids = [client.containers.files.create(container_id, file=("numbers.csv", data)).id for data in (b"1,2", b"3,4")]
    model_server.reply("<execute>\nprint(open('numbers.csv').read(), open('numbers (2).csv').read())\n</execute>\n")
    model_server.reply("There.")
    tool: Any = {"type": "code_interpreter", "container": {"type": "auto", "file_ids": [*ids, ids[0]]}}
    answer: Any = client.responses.create(input="read them", tools=[tool]).to_dict()
    (code,) = (item for item in answer["output"] if item["type"] == "code_interpreter_call")
    assert code["outputs"] == [{"type": "logs", "logs": "1,2 3,4\n"}]
    told = model_server.requests[-1].messages[0]["content"]
    assert 'working directory: "numbers.csv", "numbers (2).csv".' in told
    tool["container"]["file_ids"] = ["cfile_no"]
    with pytest.raises(NotFoundError) as caught:
        client.responses.create(input="read them", tools=[tool])
    assert caught.value.param == "tools.container.file_ids[0]"
    made = client.containers.create(name="with files", file_ids=ids)
    assert {file.path for file in client.containers.files.list(made.id)} == {
        "/mnt/data/numbers.csv",
        "/mnt/data/numbers (2).csv",
    }


def test_a_face_reads_the_kernels_variables_and_downloads_all_files_at_once(
    client: OpenAI, model_server: ModelServer
) -> None:
    model_server.reply(
        "<execute>\nimport os\nnumbers = [1, 2, 3]\ndef f(x): return x\nos.makedirs('sub')\n"
        "open('sub/a.txt', 'w').write('A')\n</execute>"
    )
    model_server.reply("Done.")
    made: Any = client.responses.create(model="openai/scripted", input="hold something")
    container_id = next(item.container_id for item in made.output if item.type == "code_interpreter_call")
    with httpx.Client(base_url=client.base_url, trust_env=False) as http:
        held = http.get(f"containers/{container_id}/variables").json()
        assert [(one["name"], one["type"], one["shape"]) for one in held["data"]] == [("numbers", "list", "3")]
        assert [one["name"] for one in held["functions"]] == ["f"]
        answer = http.get(f"containers/{container_id}/archive")
        assert answer.headers["content-disposition"].startswith("attachment")
        with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
            assert {name: packed.read(name) for name in packed.namelist()} == {"sub/a.txt": b"A"}
        client.containers.delete(container_id)


def test_a_container_may_have_another_size_up_to_the_operators_limit(
    make_server: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = make_server(data_dir=tmp_path_factory.mktemp("sizes"), pool_max=2, memory_mb_max=4096)

    def asked(limit: str, **more: Any) -> httpx.Response:
        tools = [{"type": "code_interpreter", "container": {"type": "auto", "memory_limit": limit}}]
        body = {"input": "What is the 100th Fibonacci number?", "tools": tools, **more}
        return httpx.post(f"{server.url}/v1/responses", json=body, timeout=60, trust_env=False)

    def sizes() -> list[int]:
        living = (workspace.living for workspace in server.state.workspaces._workspaces.values())
        return sorted(sandbox.spec.limits.memory_mb for sandbox in living if sandbox is not None)

    first = asked("4g").raise_for_status().json()
    assert (first["status"], sizes()) == ("completed", [4096])
    again = asked("4g", previous_response_id=first["id"]).raise_for_status().json()
    containers = {item["container_id"] for made in (first, again) for item in made["output"] if "container_id" in item}
    assert len(containers) == 1
    other = asked("1g", previous_response_id=first["id"])
    assert (other.status_code, other.json()["error"]["param"]) == (400, "memory_limit")
    refused = asked("16g")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "tools[0].container.memory_limit")
    assert "CODEACT_MEMORY_MB_MAX" in refused.json()["error"]["message"]
    made = httpx.post(
        f"{server.url}/v1/containers", json={"name": "x", "memory_limit": "4g"}, trust_env=False, timeout=60
    )
    assert made.status_code == 200, made.text
    assert sizes() == [4096, 4096]
