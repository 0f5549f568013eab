"""The doctor examines a database and changes nothing in it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from codeact.cli.commands.doctor import Finding, _database, _model, doctor
from codeact.settings import Settings
from codeact.store import embedded_mongod
from tests.model_server import ModelServer

pytestmark = pytest.mark.anyio


async def test_the_doctor_makes_no_index_recovers_nothing_and_purges_nothing(tmp_path: Path) -> None:
    settings = Settings.load(data_dir=tmp_path, model="demo")
    unfinished = {"_id": "resp_1", "owner": "local", "process": "gone", "response": {"status": "in_progress"}}
    async with embedded_mongod(tmp_path) as uri:
        with MongoClient[dict[str, Any]](uri) as client:
            client["codeact"].responses.insert_one(unfinished)
            async with _database(settings) as finding:
                assert finding.ok
                assert "embedded MongoDB" in finding.summary
            assert client["codeact"].list_collection_names() == ["responses"]
            assert list(client["codeact"].responses.index_information()) == ["_id_"]
            assert client["codeact"].responses.find_one() == unfinished


def settings_for(tmp_path: Path, **values: Any) -> Settings:
    return Settings.load(data_dir=tmp_path, model_api_key="test", model_retries=0, **values)


async def test_the_doctor_asks_each_model_for_a_token(tmp_path: Path) -> None:
    with ModelServer() as server:
        server.reply("OK")
        server.reply("OK")
        models = settings_for(tmp_path, models="openai/scripted,openai/other", model_api_base=server.base_url)
        async with _model(models) as finding:
            assert finding.ok
            assert "the first 2 have answered" in finding.summary
        assert sorted(request.body["model"] for request in server.requests) == ["other", "scripted"]


async def test_the_doctor_names_models_that_cannot_answer(tmp_path: Path, free_port: int) -> None:
    with ModelServer() as server:
        server.reply(status=401, error={"message": "no such key"})
        async with _model(settings_for(tmp_path, model="openai/scripted", model_api_base=server.base_url)) as finding:
            assert not finding.ok
            assert finding.fix[0].startswith("openai/scripted: ")
    nothing = settings_for(tmp_path, model="openai/scripted", model_api_base=f"http://127.0.0.1:{free_port}/v1")
    async with _model(nothing) as finding:
        assert not finding.ok
        assert str(free_port) in finding.fix[0]


async def test_the_doctor_finds_the_demo_model_well(tmp_path: Path) -> None:
    async with _model(Settings.load(data_dir=tmp_path, model="demo")) as finding:
        assert finding.ok


def test_a_command_in_a_finding_stands_on_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = "pip install 'codeact[server]' 'codeact[embedded]'"

    async def examine(settings: Settings) -> list[Finding]:
        return [Finding("database", False, f"The database needs packages that are not installed: {command}.")]

    monkeypatch.setattr("codeact.cli.commands.doctor.examine", examine)
    for changes_the_process in ("configure", "own_process"):
        monkeypatch.setattr(f"codeact.cli.commands.doctor.{changes_the_process}", lambda *_: None)
    monkeypatch.setenv("COLUMNS", "80")
    # In a thread of its own, since the loop of other tests may live in this one.
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(doctor, Settings.load(model="demo"), as_json=False).result() == 1
    assert command in capsys.readouterr().out
