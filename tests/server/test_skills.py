"""Skills with the official client: uploads of files and archives, versions, and what model and code get of them."""

import base64
import io
import stat
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from codeact.errors import InvalidRequest
from codeact.skills import bundle
from codeact.skills.bundle import packed, read_files, read_zip, unpacked
from codeact.skills.front_matter import front_matter
from tests.model_server import ModelServer
from tests.server.conftest import Running

MANIFEST = b"---\nname: greeting\ndescription: How to greet people.\n---\n# Greeting\nSay 'Moin'.\n"


def zipped(files: dict[str, bytes], **options: Any) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as writer:
        for name, content in files.items():
            writer.writestr(name, content, **options)
    return archive.getvalue()


@pytest.fixture
def client(scripted: Running, model_server: ModelServer) -> Iterator[openai.OpenAI]:
    model_server.reset()
    with openai.OpenAI(base_url=f"{scripted.url}/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client


def test_a_skill_is_stored_in_versions(client: openai.OpenAI) -> None:
    made = client.skills.create(files=[("greeting/SKILL.md", MANIFEST), ("greeting/lib/words.txt", b"Moin")])
    assert (made.name, made.description, made.default_version) == ("greeting", "How to greet people.", "1")
    second = zipped({"SKILL.md": MANIFEST.replace(b"people", b"cats"), "__MACOSX/x": b"", "a/.DS_Store": b""})
    version = client.skills.versions.create(made.id, files=[("skill.zip", second, "application/zip")])
    assert (version.version, version.description) == ("2", "How to greet cats.")
    assert client.skills.retrieve(made.id).latest_version == "2"
    assert client.skills.retrieve(made.id).default_version == "1"
    with pytest.raises(openai.BadRequestError, match="default version"):
        client.skills.versions.delete("1", skill_id=made.id)
    assert client.skills.update(made.id, default_version="2").description == "How to greet cats."
    assert [each.version for each in client.skills.versions.list(made.id)] == ["2", "1"]
    content = client.skills.versions.content.retrieve("1", skill_id=made.id).read()
    assert unpacked(content) == {"SKILL.md": MANIFEST, "lib/words.txt": b"Moin"}
    assert unpacked(client.skills.content.retrieve(made.id).read()).keys() == {"SKILL.md"}
    assert client.skills.versions.delete("1", skill_id=made.id).deleted
    assert made.id in [each.id for each in client.skills.list()]
    client.skills.delete(made.id)
    for gone in (made.id, "skill_none"):
        with pytest.raises(openai.NotFoundError):
            client.skills.retrieve(gone)


def ask(client: openai.OpenAI, model_server: ModelServer, code: str, skills: list[Any], **more: Any) -> Any:
    model_server.reply(f"<execute>\n{code}\n</execute>")
    model_server.reply("Done.")
    container = {"type": "auto", "skills": skills}
    return client.responses.create(
        model="codeact", input="greet", tools=[{"type": "code_interpreter", "container": container}], **more
    )


def inline_source(response: Any) -> Any:
    return response.model_dump(exclude_none=True)["tools"][0]["container"]["skills"][1]["source"]


def logs(response: Any) -> str:
    blocks = [item for item in response.output if item.type == "code_interpreter_call"]
    return "".join(part.logs for block in blocks for part in block.outputs or ())


def test_the_model_is_told_of_a_skill_and_code_reads_it(client: openai.OpenAI, model_server: ModelServer) -> None:
    made = client.skills.create(files=[("SKILL.md", MANIFEST), ("lib/words.txt", b"Moin")])
    inline = zipped({"SKILL.md": MANIFEST.replace(b"greeting", b"parting")})
    source = {"type": "base64", "media_type": "application/zip", "data": base64.b64encode(inline).decode()}
    skills = [
        {"type": "skill_reference", "skill_id": made.id, "version": "latest"},
        {"type": "inline", "name": "parting", "description": "How to part.", "source": source},
    ]
    code = "import os\nprint(open('/mnt/skills/greeting/lib/words.txt').read(), sorted(os.listdir('/mnt/skills')))"
    first = ask(client, model_server, code, skills)
    assert logs(first) == "Moin ['greeting', 'parting']\n"
    assert inline_source(first) == {"type": "base64", "media_type": "application/zip"}
    told = model_server.requests[0].messages[0]["content"]
    assert '- greeting: "How to greet people."' in told
    assert "/mnt/skills/NAME/SKILL.md" in told
    assert "Say 'Moin'" not in told
    newer = MANIFEST.replace(b"Moin", b"Hello")
    client.skills.versions.create(made.id, files=[("SKILL.md", newer)])
    code = "print(open('/mnt/skills/greeting/SKILL.md').read()[-5:], os.listdir('/mnt/skills/greeting'))"
    second = ask(client, model_server, code, skills[:1], previous_response_id=first.id)
    assert logs(second) == "lo'.\n ['SKILL.md']\n"


@pytest.mark.parametrize(
    ("skill", "told"),
    [
        ({"type": "skill_reference", "skill_id": "skill_none"}, "skill_none"),
        ({"type": "inline", "name": "x", "description": "y", "source": {"data": "e30="}}, "skills"),
        (
            {
                "type": "inline",
                "name": "x",
                "description": "y",
                "source": {"type": "base64", "media_type": "application/zip", "data": "e30="},
            },
            "not a zip archive",
        ),
        (
            {
                "type": "inline",
                "name": "x",
                "description": "y",
                "source": {"type": "base64", "media_type": "application/zip", "data": "é30="},
            },
            "not base64",
        ),
    ],
)
def test_a_skill_that_cannot_be_had_is_refused_by_name(client: openai.OpenAI, skill: Any, told: str) -> None:
    with pytest.raises(openai.APIStatusError, match=told) as refused:
        client.responses.create(
            model="codeact",
            input="x",
            tools=[{"type": "code_interpreter", "container": {"type": "auto", "skills": [skill]}}],
        )
    assert refused.value.status_code in (400, 404)


def link() -> bytes:
    info = zipfile.ZipInfo("lib")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr("SKILL.md", MANIFEST)
        writer.writestr(info, "/etc")
    return archive.getvalue()


@pytest.mark.parametrize(
    ("archive", "told"),
    [
        (b"", "not a zip archive"),
        (b"PK\x05\x06" + b"\0" * 18, "no SKILL.md"),
        (zipped({"SKILL.md": MANIFEST})[:-30], "not a zip archive"),
        (zipped({"SKILL.md": MANIFEST, "../evil": b""}), "not a path"),
        (zipped({"SKILL.md": MANIFEST, "/etc/passwd": b""}), "not a path"),
        (zipped({"SKILL.md": MANIFEST, "a\\b": b""}), "backslashes"),
        (zipped({"SKILL.md": MANIFEST, "a": b"", "a/b": b""}), "a file and a folder"),
        (zipped({"s": b"", "s/SKILL.md": MANIFEST}), "a file and a folder"),
        (zipped({"SKILL.md": MANIFEST, "/".join("abcdefghijk"): b""}), "too deep"),
        (zipped({"SKILL.md": MANIFEST} | {f"{at}": b"" for at in range(500)}), "over 500"),
        (zipped({"SKILL.md": MANIFEST, "bomb": b"\0" * (bundle.SKILL_BYTES + 1)}), "over 20,000,000 bytes"),
        (zipped({f"{at:0200}": b"" for at in range(3000)}), "table of contents"),
        (zipped({"SKILL.md": MANIFEST}, compress_type=zipfile.ZIP_LZMA), "deflate"),
        (link(), "a link"),
        (zipped({"a/SKILL.md": MANIFEST, "b/x": b""}), "no SKILL.md"),
        (zipped({"SKILL.md": b"# Greeting"}), "'name'"),
        (zipped({"SKILL.md": b"---\nname: Greeting!\ndescription: x\n---"}), "'name'"),
        (zipped({"SKILL.md": b"---\nname: greeting\n---"}), "'description'"),
        (zipped({"SKILL.md": b"---\nname: greeting\ndescription: " + b"x" * 2000 + b"\n---"}), "'description'"),
    ],
)
def test_an_archive_that_is_no_skill_is_refused_by_name(archive: bytes, told: str) -> None:
    with pytest.raises(InvalidRequest, match=told) as refused:
        read_zip(archive)
    assert refused.value.code == "invalid_skill"


def test_the_same_files_make_the_same_archive() -> None:
    one = read_files([("g/SKILL.md", MANIFEST), ("g/a", b"1")])
    other = read_zip(zipped({"a": b"1", "SKILL.md": MANIFEST}))
    assert packed(one) == packed(other)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("---\nname: a\ndescription: 'it''s'\n---\n", {"name": "a", "description": "it's"}),
        ('---\nname: "a"\ndescription: "a \\"b\\" c" \n---\n', {"name": "a", "description": 'a "b" c'}),
        ("---\nname: a # why\ndescription: >\n  one\n  two\nmore: [x]\n---\n", {"name": "a", "description": "one two"}),
        ("---\ndescription: |\n  one\n  two\n---\n", {"description": "one\ntwo"}),
        ("\ufeff---\r\nname: a\r\n---\r\n", {"name": "a"}),
        ("name: a\n", {}),
        ("---\nname: a\n", {}),
        ("", {}),
    ],
)
def test_a_front_matter_is_read_as_people_write_it(text: str, fields: dict[str, str]) -> None:
    assert front_matter(text.encode()) == fields


def test_a_form_without_files_is_refused_by_name(scripted: Running) -> None:
    def post(**form: Any) -> tuple[int, str]:
        answer = httpx.post(f"{scripted.url}/v1/skills", trust_env=False, **form)
        return answer.status_code, answer.json()["error"]["message"]

    assert post(files={"files": ("SKILL.md", b"x" * (bundle.SKILL_BYTES + 200_000))})[0] == 413
    assert post(json={})[0] == 415
    assert "colour" in post(files={"files": ("SKILL.md", MANIFEST)}, data={"colour": "red"})[1]
    assert "'file'" in post(files={"file": ("SKILL.md", MANIFEST)})[1]
