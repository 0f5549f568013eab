"""Pools of the tests here follow the demand, as those of servers do."""

from collections.abc import Iterator

import pytest

from sandbox_pool.pool import warm_pool
from sandbox_pool.pool.sizing import target_size


@pytest.fixture(autouse=True)
def pools_follow_demand() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warm_pool, "target_size", target_size)
        yield
