"""Makes pytest-xdist distribute whole groups of tests, as tests/groups.py defines them."""

from xdist.scheduler import LoadScopeScheduling

from tests.groups import group_of

__all__ = ["GroupScheduling"]


class GroupScheduling(LoadScopeScheduling):
    """Replaces the scheduler of `--dist loadgroup`. That of pytest-xdist 3.8 uses an attribute of tests that pytest 9.2
    no longer has, and therefore distributes every test alone.
    """

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid.partition("::")[0])
