"""Stored documents refer to blobs by their hash; clients get URLs on every transport."""

import hashlib
import json
from ipaddress import ip_network
from typing import Any

import httpx
import pytest

from codeact.server.auth.proxies import Proxies
from codeact.server.blob_urls import frame_with_urls, with_urls
from codeact.store.documents.schema import ITEM
from tests.model_server import ModelServer
from tests.server.conftest import Running

SHA = hashlib.sha256(b"x").hexdigest()
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
CODE = f"""
import base64
from IPython.display import Image
Image(base64.b64decode("{PNG}"))
"""


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        (f'{{"url":"blob:{SHA}"}}', f'{{"url":"/v1/blobs/{SHA}"}}'),
        (f'{{"text":"[cut; all of them: blob:{SHA}]"}}', f'{{"text":"[cut; all of them: /v1/blobs/{SHA}]"}}'),
        (f'{{"text":"say \\"blob:{SHA}\\""}}', f'{{"text":"say \\"blob:{SHA}\\""}}'),
        (f'{{"text":"x blob:{SHA}"}}', f'{{"text":"x blob:{SHA}"}}'),
        ('{"url":"blob:abc"}', '{"url":"blob:abc"}'),
    ],
)
def test_whole_names_become_urls_and_text_stays(stored: str, sent: str) -> None:
    assert frame_with_urls(stored) == with_urls(stored.encode()).decode() == sent


def test_pictures_are_stored_by_hash_and_every_answer_has_their_url(
    scripted: Running, model_server: ModelServer
) -> None:
    model_server.reply(f"<execute>\n{CODE}</execute>\n")
    model_server.reply("There.")
    with httpx.Client(base_url=scripted.url, trust_env=False, timeout=60) as client:
        answer = client.post("/v1/responses", json={"input": "draw"}).raise_for_status().json()
        (url,) = {output["url"] for item in answer["output"] for output in item.get("outputs") or () if "url" in output}
        assert url.startswith(f"{scripted.url}/v1/blobs/")
        assert client.get(url).raise_for_status().headers["content-type"] == "image/png"
        response, conversation = answer["id"], answer["conversation"]["id"]
        texts = {
            "response": client.get(f"/v1/responses/{response}").text,
            "events": client.get(f"/v1/responses/{response}?stream=true").text,
            "items": client.get(f"/v1/conversations/{conversation}/items").text,
            "turns": client.get(f"/v1/conversations/{conversation}/responses").text,
        }
        assert {name: (url in text, "blob:" in text) for name, text in texts.items()} == dict.fromkeys(
            texts, (True, False)
        )
        said = [{"type": "input_text", "text": "again"}, {"type": "input_image", "image_url": url}]
        model_server.reply("Yes.")
        client.post(
            "/v1/responses", json={"input": [{"role": "user", "content": said}], "previous_response_id": response}
        ).raise_for_status()


def test_who_asks_gets_pictures_as_data_urls_everywhere(scripted: Running, model_server: ModelServer) -> None:
    model_server.reset()
    model_server.reply(f"<execute>\n{CODE}</execute>\n")
    model_server.reply("There.")
    picture, include = f"data:image/png;base64,{PNG}", ["codeact:data_urls"]
    with httpx.Client(base_url=scripted.url, trust_env=False, timeout=60) as client:
        made = client.post("/v1/responses", json={"input": "draw", "include": include}).raise_for_status().json()
        path = f"/v1/responses/{made['id']}"
        read = client.get(path, params={"include": include}).json()
        for response in (made, read):
            (item,) = (item for item in response["output"] if item["type"] == "code_interpreter_call")
            assert item["outputs"] == [{"type": "image", "url": picture}]
        assert client.get(path, params={"include": include, "stream": "true"}).text.count(f'"url":"{picture}"') == 2
        assert picture not in client.get(path, params={"stream": "true"}).text


@pytest.mark.parametrize(("peer", "url"), [("10.0.0.1", "https://chat.example"), ("192.0.2.1", "http://inside:8000")])
@pytest.mark.anyio
async def test_urls_begin_with_what_a_trusted_proxy_was_asked(peer: str, url: str) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(with_urls(f'{{"type":"image","url":"blob:{SHA}"}}'.encode()))

    headers = [(b"host", b"inside:8000"), (b"x-forwarded-host", b"chat.example"), (b"x-forwarded-proto", b"https")]
    scope = {"type": "http", "client": (peer, 1), "scheme": "http", "headers": headers}
    await Proxies(app, [ip_network("10.0.0.0/8")])(scope, None, None)  # type: ignore[arg-type]
    assert seen == [f'{{"type":"image","url":"{url}/v1/blobs/{SHA}"}}'.encode()]


def test_documents_of_the_first_release_are_read_with_names() -> None:
    old = {
        "_id": "ci_1",
        "item": {
            "outputs": [{"type": "image", "url": f"/v1/blobs/{SHA}"}, {"type": "logs", "logs": f"see /v1/blobs/{SHA}"}],
            "codeact:notebook_outputs": json.dumps([{"metadata": {"codeact:url": {"image/png": f"/v1/blobs/{SHA}"}}}]),
        },
    }
    item = ITEM.upgrade(old)["item"]
    assert [output.get("url", output.get("logs")) for output in item["outputs"]] == [
        f"blob:{SHA}",
        f"see /v1/blobs/{SHA}",
    ]
    assert f'"blob:{SHA}"' in item["codeact:notebook_outputs"]
