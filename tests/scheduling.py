"""How pytest-xdist hands tests out: whole groups, by tests/groups.py."""

from xdist.scheduler import LoadScopeScheduling

from tests.groups import group_of

__all__ = ["GroupScheduling"]


class GroupScheduling(LoadScopeScheduling):
    """What `--dist loadgroup` is meant to do: that of pytest-xdist 3.8 writes groups into an attribute of tests that
    pytest 9.2 no longer has, and so spreads every test by itself.
    """

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid.partition("::")[0])
