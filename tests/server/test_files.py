"""`/v1/files`: files go up before the question that names them, with the official client."""

import io
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from codeact.server.requests import upload_slots
from codeact.server.requests.upload_slots import UploadSlots
from tests.model_server import ModelServer
from tests.server.conftest import Running
from tests.server.test_auth import client

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)


@pytest.fixture(scope="module")
def keyed(make_server: Callable[..., Running], model_server: ModelServer) -> Running:
    return make_server(
        api_keys="files-a,files-b",
        max_upload_bytes=10_000_000,
        model="openai/scripted",
        model_api_base=model_server.base_url,
        model_api_key="test",
    )


def official(server: Running, key: str = "files-a") -> openai.OpenAI:
    return openai.OpenAI(
        api_key=key, base_url=f"{server.url}/v1", max_retries=0, http_client=httpx.Client(trust_env=False)
    )


def upload(server: Running, key: str = "files-a", *, content: bytes = b"abc", **fields: str) -> httpx.Response:
    with client(server, key) as http:
        return http.post("/v1/files", files={"file": ("a.txt", content)}, data={"purpose": "user_data"} | fields)


def test_a_file_is_uploaded_listed_read_and_deleted(keyed: Running) -> None:
    content = bytes(range(256)) * 20_000
    with official(keyed) as ai:
        made = ai.files.create(
            file=("data.bin", io.BytesIO(content)),
            purpose="user_data",
            expires_after={"anchor": "created_at", "seconds": 3600},
        )
        assert (made.filename, made.bytes, made.purpose, made.status) == (
            "data.bin",
            5_120_000,
            "user_data",
            "processed",
        )
        assert made.id.startswith("file-")
        assert made.expires_at == made.created_at + 3600
        second = ai.files.create(file=("b.txt", b"b"), purpose="vision")
        assert ai.files.retrieve(made.id) == made
        assert [one.id for one in ai.files.list()][:2] == [second.id, made.id]
        assert [one.id for one in ai.files.list(purpose="vision")] == [second.id]
        page = ai.files.list(limit=1, order="asc")
        assert (page.data[0].id, page.has_more) == (made.id, True)
        assert [one.id for one in page] == [made.id, second.id]
        assert ai.files.content(made.id).read() == content
        assert ai.files.delete(made.id).deleted
        with pytest.raises(openai.NotFoundError):
            ai.files.retrieve(made.id)
        ai.files.delete(second.id)


def test_a_file_goes_up_in_parts(keyed: Running) -> None:
    content = bytes(range(256)) * 20_000
    with official(keyed) as ai, client(keyed, "files-a") as http, client(keyed, "files-b") as other:
        made = ai.uploads.upload_file_chunked(
            file=content, filename="data.bin", bytes=len(content), mime_type="text/plain", purpose="user_data"
        )
        assert (made.status, made.bytes) == ("completed", len(content))
        assert made.file is not None
        assert ai.files.content(made.file.id).read() == content
        again = ai.uploads.complete(made.id, part_ids=["lost answer"])
        assert again.file is not None
        assert again.file.id == made.file.id
        begun = ai.uploads.create(filename="b.txt", bytes=3, mime_type="text/plain", purpose="user_data")
        parts = [ai.uploads.parts.create(begun.id, data=data).id for data in (b"ab", b"c", b"cd")]
        path = f"/v1/uploads/{begun.id}"
        assert other.post(f"{path}/parts", files={"data": b"x"}).status_code == 404
        assert other.post(f"{path}/complete", json={"part_ids": parts[:2]}).status_code == 404
        assert http.post(f"{path}/parts", files={"data": b"four"}).json()["error"]["code"] == "file_too_large"
        for wrong in ([parts[0], parts[2]], ["part_1"]):
            assert http.post(f"{path}/complete", json={"part_ids": wrong}).json()["error"]["param"] == "part_ids"
        assert http.post(f"{path}/complete", json={"part_ids": parts[:2], "md5": "0" * 32}).status_code == 400
        assert ai.uploads.cancel(begun.id).status == "cancelled"
        assert http.post(f"{path}/complete", json={"part_ids": parts[:2]}).status_code == 400
        too_large = http.post(
            "/v1/uploads",
            json={"filename": "a", "bytes": 10_000_001, "mime_type": "text/plain", "purpose": "user_data"},
        )
        assert too_large.status_code == 413


def test_a_question_names_uploaded_files_and_its_code_finds_them(keyed: Running, model_server: ModelServer) -> None:
    model_server.reset()
    model_server.reply("<execute>\nprint(open('a.txt').read(), len(open('b.png', 'rb').read()))\n</execute>")
    model_server.reply("Read.")
    text = upload(keyed, content=b"the words").json()["id"]
    with client(keyed, "files-a") as http:
        picture = http.post("/v1/files", files={"file": ("b.png", PNG)}, data={"purpose": "vision"}).json()["id"]
        content: list[dict[str, Any]] = [
            {"type": "input_text", "text": "Read it"},
            {"type": "input_file", "file_id": text},
            {"type": "input_image", "file_id": picture},
            {"type": "input_file", "file_id": picture},
        ]
        made = http.post("/v1/responses", json={"input": [{"role": "user", "content": content}]}, timeout=60).json()
        output = next(item for item in made["output"] if item["type"] == "code_interpreter_call")["outputs"]
        assert output == [{"type": "logs", "logs": "the words 48\n"}]
        asked = model_server.requests[0].messages[-1]["content"]
        assert [part["type"] for part in asked if part["type"] == "image_url"] == ["image_url"]
        # The conversation keeps its copy.
        assert http.delete(f"/v1/files/{text}").status_code == 200
        items = http.get(f"/v1/conversations/{made['conversation']['id']}/items").json()["data"]
        stored = next(part for part in items[-1]["content"] if part["type"] == "input_file")
        assert http.get(f"/v1/blobs/{stored['file_id']}").content == b"the words"


def test_another_owner_has_no_such_file(keyed: Running) -> None:
    file_id = upload(keyed).json()["id"]
    with client(keyed, "files-b") as other:
        for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
            assert other.request(method, f"/v1/files/{file_id}{path}").status_code == 404
        assert other.get("/v1/files").json()["data"] == []
        question = [{"role": "user", "content": [{"type": "input_file", "file_id": file_id}]}]
        assert other.post("/v1/responses", json={"input": question}).status_code == 404


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"purpose": "fine-tune"}, 400, "purpose"),
        ({"purpose": ""}, 400, "purpose"),
        ({"colour": "red"}, 400, "colour"),
        ({"expires_after[anchor]": "created_at", "expires_after[seconds]": "60"}, 400, "expires_after.seconds"),
        ({"expires_after[anchor]": "created_at", "expires_after[seconds]": "soon"}, 400, "expires_after.seconds"),
        ({"expires_after[anchor]": "last_active_at", "expires_after[seconds]": "3600"}, 400, "expires_after.anchor"),
        ({"expires_after[seconds]": "3600"}, 400, "expires_after"),
    ],
)
def test_what_is_wrong_with_an_upload_is_named(keyed: Running, fields: dict[str, str], status: int, param: str) -> None:
    answer = upload(keyed, **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


def test_a_file_over_the_limit_is_refused_and_the_limit_is_told_beforehand(keyed: Running) -> None:
    with client(keyed, "files-a") as http:
        limit = http.get("/v1/status").json()["upload_bytes"]
    assert limit == 10_000_000
    for size in (limit + 1, limit + 1_000_000):
        answer = upload(keyed, content=bytes(size))
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "file_too_large")
    assert upload(keyed, content=bytes(limit)).status_code == 200


def test_uploads_at_a_time_are_bounded(keyed: Running) -> None:
    with keyed.state.uploads.counted("somebody"), keyed.state.uploads.counted("somebody"):
        assert upload(keyed).status_code == 200
    slots = UploadSlots(most=3, most_per_owner=2)
    with slots.counted("a"), slots.counted("a"):
        with pytest.raises(Exception, match="at once"), slots.counted("a"):
            raise AssertionError
        with slots.counted("b"), pytest.raises(Exception, match="at once"), slots.counted("c"):
            raise AssertionError
    with slots.counted("a"), slots.counted("b"):
        pass


def test_every_body_that_goes_to_the_disk_counts(keyed: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    with client(keyed, "files-a") as http:
        container = http.post("/v1/containers", json={"name": "x"}).raise_for_status().json()["id"]
        monkeypatch.setattr(keyed.state.uploads, "_most_per_owner", 0)
        answers = [
            http.post("/v1/conversations/import", json={}),
            http.post(f"/v1/containers/{container}/files", files={"file": ("a", b"a")}),
            http.post("/v1/files", files={"file": ("a", b"a")}, data={"purpose": "user_data"}),
        ]
        assert {(each.status_code, each.json()["error"]["code"]) for each in answers} == {(429, "too_many_uploads")}
        http.delete(f"/v1/containers/{container}").raise_for_status()


def test_an_upload_that_takes_too_long_is_ended(keyed: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_slots, "UPLOAD_TIMEOUT_S", 0.0)
    with client(keyed, "files-a") as http:
        answers = [upload(keyed), http.post("/v1/conversations/import", json={})]
    assert {(each.status_code, each.json()["error"]["code"]) for each in answers} == {(408, "upload_timeout")}
    assert keyed.state.uploads._running.total() == 0


def test_uploaded_files_are_put_into_a_container(keyed: Running, model_server: ModelServer) -> None:
    model_server.reset()
    model_server.reply("<execute>\nprint(open('a.txt').read())\n</execute>\n")
    model_server.reply("There.")
    file_id = upload(keyed, content=b"from an upload").json()["id"]
    container: Any = {"type": "auto", "file_ids": [file_id]}
    with official(keyed) as ai:
        answer: Any = ai.responses.create(
            input="read it", tools=[{"type": "code_interpreter", "container": container}]
        ).to_dict()
        (code,) = (item for item in answer["output"] if item["type"] == "code_interpreter_call")
        assert code["outputs"] == [{"type": "logs", "logs": "from an upload\n"}]
    with official(keyed, "files-b") as other, pytest.raises(openai.NotFoundError) as caught:
        other.responses.create(input="x", tools=[{"type": "code_interpreter", "container": container}])
    assert caught.value.param == "tools.container.file_ids[0]"
