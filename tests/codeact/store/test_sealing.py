"""The key that encrypts what clients hold for the server, on a real mongod."""

import anyio
import pytest

from codeact.store import Store

pytestmark = pytest.mark.anyio


async def test_every_server_of_a_database_opens_what_another_one_sealed(uri: str) -> None:
    async with Store.connect(uri) as one, Store.connect(uri) as other:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.sealing.sealer)
            tasks.start_soon(other.sealing.sealer)
        sealed = (await one.sealing.sealer()).seal("reasoning", b"hm", owner="ada")
        assert (await other.sealing.sealer()).open("reasoning", sealed, owner="ada").content == b"hm"
    async with Store.connect(uri) as restarted:
        assert (await restarted.sealing.sealer()).open("reasoning", sealed, owner="ada").content == b"hm"
