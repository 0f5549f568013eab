"""Pickles the names of the kernel, each with those that share objects with it, so that `a is b` stays true.

`kernel_state_save.py` imports it inside of a sandbox.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import re
import sys
import types
from typing import Any

from kernel_inventory import class_source, source_of  # type: ignore[import-not-found]
from kernel_state_arrays import NotSaved  # type: ignore[import-not-found]
from kernel_state_definitions import is_remade  # type: ignore[import-not-found]
from kernel_state_groups import Group, Sink, Unions  # type: ignore[import-not-found]
from kernel_state_imports import containers_of_workspace  # type: ignore[import-not-found]
from kernel_state_instances import Reference  # type: ignore[import-not-found]
from kernel_state_objects import StatePickler, is_importable, is_shareable  # type: ignore[import-not-found]
from kernel_state_spaces import is_a  # type: ignore[import-not-found]
from kernel_values import module_of, plain, type_name  # type: ignore[import-not-found]

__all__ = ["SOURCES", "Names"]

SMALL_BYTES = 8_192
UNIT_BYTES = 65_536
"""Groups of less than SMALL_BYTES are put together into units of at most UNIT_BYTES, so that there are fewer parts."""
KEPT_BYTES = 50_000_000
"""Pickles are kept for the second pass as long as they have no more bytes together."""
NAMES, SOURCES, SOURCE_CHARS = 10_000, 500, 20_000
OF_IPYTHON = re.compile(
    r"_+|_\d+|_i+|_i\d+|_[iod]h|_exit_code|CallError"
    r"|__(?:annotations|builtins?|doc|file|loader|name|package|spec|warningregistry)__"
)


class Names:
    """Pickles the names of the kernel, and lists `sources`, `imports`, `lost`, and, in the guard, what is not saved.

    `lost` has the fields of saved objects that do not come back, as (name, field, reason).
    """

    def __init__(self, kernel, limits, guard):
        self.space = kernel.shell.user_ns
        self.sources = []
        self.imports = []
        self.lost: dict[Any, None] = {}
        self._guard = guard
        self._limits = limits
        self._left = limits["total_bytes"]
        self._kept = KEPT_BYTES
        self._hidden = dict(kernel.shell.user_ns_hidden)
        self._definitions = {}
        self._owners = {}
        self._unions = Unions()
        self._in_modules = guard.look("containers of modules", containers_of_workspace, otherwise={})

    def units(self):
        """Yields the kind and the groups of each unit of names."""
        values, definitions = self._names()
        self._definitions = {id(self.space[name]): name for name in reversed(definitions)}
        alone = {name: self._alone(name, defines=True) for name in definitions}
        alone |= {name: self._alone(name, defines=False) for name in values}
        self._owners.clear()
        for name in definitions:
            self._unions.join(definitions[0], name)
        sets = self._unions.sets(name for name, group in alone.items() if group is not None)
        lead = self._unions.root(definitions[0]) if definitions else None
        self._list_sources(definitions)
        if lead in sets and (group := self._together(sets.pop(lead), alone, defines=True)):
            yield "definitions", [group]
        small: list[Any] = []
        size = 0
        for names in sets.values():
            group = self._together(names, alone, defines=False)
            if group is None:
                continue
            if group.buffers or len(group.stream) > SMALL_BYTES:
                yield "values", [group]
                continue
            if size + len(group.stream) > UNIT_BYTES:
                yield "values", small
                small, size = [], 0
            small.append(group)
            size += len(group.stream)
        if small:
            yield "values", small

    def settings(self, objects):
        """Pickles the settings. Returns their groups; one that cannot be saved is listed."""
        groups = []
        for name, value in objects.items():
            try:
                group, _ = self._pickle([name], [value], defines=False, apart=False)
                groups.append(group)
            except BaseException as error:
                self._guard.skip(name, "setting", self._guard.reason(error))
        return groups

    def described(self, group):
        return [
            {"name": plain(name), "type": type_name(type(self.space.get(name)))[:200], "size_bytes": size}
            for name, size in group.sizes.items()
        ]

    def skip(self, name, error):
        """Lists a name that cannot be saved. `error` says why, or is the reason."""
        kind = type_name(type(self.space.get(name)))
        self._guard.skip(name, kind, error if isinstance(error, str) else self._guard.reason(error))

    def is_own(self, value):
        """Whether this is a function or class of the notebook."""
        if type(value) is types.FunctionType:
            return value.__globals__ is self.space
        return is_a(value, type) and module_of(value) == "__main__"

    def classes(self):
        """The classes among the definitions."""
        return [self.space[name] for name in self._definitions.values() if is_a(self.space[name], type)]

    # ---- names -------------------------------------------------------------------------------------------

    def _names(self):
        """Returns the names of the values and of the definitions, and lists the imported modules."""
        values: list[str] = []
        definitions: list[str] = []
        functions = sys.modules.get("codeact_functions")
        ours = {name: getattr(functions, name, None) for name in getattr(functions, "NAMES", ())}
        for name in sorted(name for name in self.space if type(name) is str):
            value = self.space[name]
            if OF_IPYTHON.fullmatch(name) or (name in ours and ours[name] is value):
                continue
            if name in self._hidden and self._hidden[name] is value:
                continue
            if len(values) + len(definitions) >= NAMES:
                self.skip(name, "there are too many names")
                continue
            try:
                if type(value) is types.ModuleType and is_importable(value):
                    self.imports.append({"name": plain(name), "module": plain(value.__name__)})
                else:
                    (definitions if self.is_own(value) else values).append(name)
            except Exception as error:
                self.skip(name, error)
        return values, definitions

    def _list_sources(self, definitions):
        """Lists the sources of definitions. One that cannot be pickled comes back by running its source again."""
        unsaved = self._guard.unsaved
        failed = {each["name"]: each for each in unsaved}
        order = {name: number for number, name in enumerate(self.space)}
        for name in sorted(definitions, key=order.__getitem__)[:SOURCES]:
            try:
                with self._guard.within(self._limits["group_s"]):
                    entry = self._source(name, is_failed=name in failed)
            except BaseException:
                entry = {"source": ""}  # The name is saved, or listed, without its source.
            if entry.get("rerun"):
                unsaved.remove(failed[name])
            if entry["source"]:
                self.sources.append(entry)

    def _source(self, name, *, is_failed):
        value = self.space[name]
        is_class = is_a(value, type)
        found = class_source(value, SOURCE_CHARS) if is_class else source_of(value.__code__, SOURCE_CHARS)
        entry = {"name": plain(name), "kind": "class" if is_class else "function", "source": found}
        rerun = is_failed and 0 < len(found) < SOURCE_CHARS and name == value.__name__
        if rerun and (is_class or not value.__closure__) and is_remade(found, value, self.space):
            entry["rerun"] = True
        return entry

    # ---- pickles -----------------------------------------------------------------------------------------

    def _alone(self, name, *, defines):
        """Pickles one name, to find out whether that works, and with which other names it shares objects."""
        try:
            group, shared = self._pickle([name], [self._value(name)], defines=defines)
        except BaseException as error:
            self.skip(name, error)
            return None
        for obj in shared:
            # The object is kept, so that no other one gets its id.
            self._unions.join(self._owners.setdefault(id(obj), (name, obj))[0], name)
        self._kept -= len(group.stream)
        if self._kept < 0:
            group.stream = None
        return group

    def _together(self, names, alone, *, defines):
        """Returns the group of these names, or None if it cannot be saved."""
        group = alone[names[0]]
        try:
            if len(names) > 1 or group.stream is None:
                group, _ = self._pickle(names, [self._value(name) for name in names], defines=defines)
            size = sum(group.sizes.values())
            if size > self._left:
                raise NotSaved(f"the checkpoint would have more than {self._limits['total_bytes']:,} bytes")
        except BaseException as error:
            for name in names:
                self.skip(name, error)
            return None
        self._left -= size
        return group

    def _value(self, name):
        """The value of a name, or a reference to the variable of a module of the workspace that is the same object."""
        value = self.space[name]
        place = self._in_modules.get(id(value))
        return value if place is None else Reference(*place)

    def _pickle(self, names, values, *, defines, apart=True):
        """Returns a group, and the objects in it that other groups may share."""
        buffers: list[Any] | None = [] if apart else None
        sink = Sink(self._limits["group_bytes"])
        pickler = StatePickler(sink, self.space, self._definitions, buffers, defines=defines)
        with self._guard.within(self._limits["group_s"]):
            pickler.dump(tuple(values))
            memo, referred = pickler.memo.copy(), pickler.referred
            shared = [obj for number, (_, obj) in memo.items() if number not in referred and is_shareable(obj)]
        size = sum(map(len, buffers or ()))
        sink.take(size)
        stream = b"".join(sink.pieces)
        group = Group(dict.fromkeys(names, (len(stream) + size) // len(names)), stream, buffers or [])
        self.lost.update(dict.fromkeys((names[0], *each) for each in pickler.left_out.items()))
        return group, shared
