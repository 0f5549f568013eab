"""Groups of names that are pickled together, the file in memory that takes a pickle, and sets of names that are joined.

`kernel_state_save.py` imports it inside of a sandbox.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

from kernel_state_arrays import NotSaved  # type: ignore[import-not-found]

__all__ = ["Group", "Sink", "Unions"]


class Group:
    """Names that share objects, with the sizes of their shares, their pickle and their arrays."""

    def __init__(self, sizes, stream, buffers):
        self.sizes = sizes
        self.stream = stream
        self.buffers = buffers


class Sink:
    """A file in memory, for what a pickler writes. Raises `NotSaved` if that is too much."""

    def __init__(self, most_bytes):
        self.pieces = []
        self._left = self._most = most_bytes

    def write(self, piece):
        self.take(len(piece))
        self.pieces.append(bytes(piece))

    def take(self, size):
        self._left -= size
        if self._left < 0:
            raise NotSaved(f"it has more than {self._most:,} bytes")


class Unions:
    """Sets of names, which are joined (a disjoint-set forest)."""

    def __init__(self):
        self._parents = {}

    def root(self, name):
        path = []
        while (parent := self._parents.get(name, name)) != name:
            path.append(name)
            name = parent
        self._parents.update(dict.fromkeys(path, name))
        return name

    def join(self, one, other):
        one, other = self.root(one), self.root(other)
        if one != other:
            self._parents[max(one, other)] = min(one, other)

    def sets(self, names):
        found: dict[str, list[str]] = {}
        for name in names:
            found.setdefault(self.root(name), []).append(name)
        return found
