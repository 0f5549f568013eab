"""The doctor examines a database and changes nothing in it."""

from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from codeact.cli.commands.doctor import _database
from codeact.settings import Settings
from codeact.store import embedded_mongod

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
