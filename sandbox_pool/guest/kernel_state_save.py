"""Writes a checkpoint of the kernel's state into a pipe, in a fork of the kernel.

`kernel_state.py` imports it inside of a sandbox. The fork writes frames: a letter, the payload's length in four bytes,
and the payload. `P` is a part that the server does not have, `M` a piece of the manifest (JSON), `Z` the end.
Names that share objects are pickled together, so that `a is b` stays true.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import contextlib
import platform
import re
import signal
import sys
import time
import types
import warnings
from collections import Counter
from json import dumps
from typing import Any

from kernel_inventory import class_source, source_of  # type: ignore[import-not-found]
from kernel_state_arrays import NotSaved  # type: ignore[import-not-found]
from kernel_state_definitions import is_remade  # type: ignore[import-not-found]
from kernel_state_files import changed_files, empty_directories  # type: ignore[import-not-found]
from kernel_state_groups import Group, Sink, Unions  # type: ignore[import-not-found]
from kernel_state_imports import added_modules, containers_of_workspace  # type: ignore[import-not-found]
from kernel_state_instances import Reference  # type: ignore[import-not-found]
from kernel_state_modules import (  # type: ignore[import-not-found]
    changed_attributes,
    is_of_library,
    is_plain,
    own_attributes,
    resolved_in_library,
    value_of,
)
from kernel_state_objects import StatePickler, is_importable, is_shareable  # type: ignore[import-not-found]
from kernel_state_process import filled_caches, lasting_calls  # type: ignore[import-not-found]
from kernel_state_replay import History  # type: ignore[import-not-found]
from kernel_state_settings import mark_figures  # type: ignore[import-not-found]
from kernel_state_writer import PART_BYTES, Writer  # type: ignore[import-not-found]
from kernel_text import encodable, words  # type: ignore[import-not-found]
from kernel_values import module_of, plain, type_name  # type: ignore[import-not-found]

__all__ = ["save"]

VERSION = 1
SMALL_BYTES = 8_192
UNIT_BYTES = 65_536
"""Groups of less than SMALL_BYTES are put together into units of at most UNIT_BYTES, so that there are fewer parts."""
KEPT_BYTES = 50_000_000
"""Pickles are kept for the second pass as long as they have no more bytes together."""
RECURSION = 8_000
PATCH = "the code put it there; the module is imported again without it"
CONTENT = "the code changed its content; the module is imported again"
ADDED = "the code put it into sys.modules; no import finds it"
DELETED = "the code deleted it; the module is imported again with it"
VARIABLE = "it is too long, no UTF-8, or one of too many"
NAMES, SOURCES, SOURCE_CHARS = 10_000, 500, 20_000
MANIFEST_BYTES = 4_000_000
"""The server takes no larger manifest."""
OF_IPYTHON = re.compile(
    r"_+|_\d+|_i+|_i\d+|_[iod]h|_exit_code|CallError"
    r"|__(?:annotations|builtins?|doc|file|loader|name|package|spec|warningregistry)__"
)


UNPICKLABLE = re.compile(r"cannot pickle '([\w.]+)' object")


class TooLong(BaseException):
    """The time for one group of names is over."""


def save(kernel, known, limits, settings, random_state, unchanged, pipe, pages, beside=()):
    """Writes the checkpoint. Returns whether this fork must be kept for `pages`.

    `beside` lists what runs beside the code, which the fork does not have.
    """
    _mark_figures()
    beside = [*beside, *settings.process.unsaved()]
    filters = list(warnings.filters)
    warnings.simplefilter("ignore")
    sys.setrecursionlimit(RECURSION)
    writer = Writer(pipe, known, unchanged, limits["total_bytes"])
    saver = Saver(kernel, limits)
    units = [writer.unit(kind, groups, saver.described) for kind, groups in saver.units()]
    saver.rerun()
    saver.skip_lost()
    saver.skip_process(beside)
    objects = kernel.context_of_code.run(settings.objects, random_state, filters)
    with contextlib.suppress(OSError):
        objects["empty directories"] = empty_directories(kernel.workspace)
    if groups := saver.settings(objects | saver.attributes()):
        units.append(writer.unit("settings", groups, saver.described))
    environment, left_out = settings.plain(kernel.workspace)
    saver.skip_variables(left_out)
    manifest = {
        "version": VERSION,
        "python": platform.python_version(),
        "execution_count": max(0, kernel.shell.execution_count - 1),
        "units": units,
        "unsaved": saver.unsaved,
        "sources": saver.sources,
        "imports": saver.imports,
        **environment,
    }
    manifest["files"], unsaved_files = changed_files(kernel.workspace, writer.blob_of_file, saver.ends_at)
    manifest["unsaved"] += unsaved_files
    manifest["total_bytes"] = writer.total
    holds = pages.write_table(writer.table)
    text = dumps(manifest).encode()
    if len(text) > MANIFEST_BYTES:
        manifest["sources"] = [source for source in manifest["sources"] if source.get("rerun")]
        text = dumps(manifest).encode()
    for start in range(0, len(text), PART_BYTES):
        writer.frame(b"M", text[start : start + PART_BYTES])
    writer.frame(b"Z", b"")
    return holds


class Saver:
    """Pickles the names of the kernel, and lists what cannot be saved."""

    def __init__(self, kernel, limits):
        self.unsaved = []
        self.sources = []
        self.imports = []
        self.ends_at = time.monotonic() + limits["deadline_s"]
        self._limits = limits
        self._left = limits["total_bytes"]
        self._kept = KEPT_BYTES
        self._space = kernel.shell.user_ns
        self._hidden = dict(kernel.shell.user_ns_hidden)
        self._workspace = kernel.workspace
        self._statements, self._knows_all = kernel.ran.statements()
        self._definitions = {}
        self._failed = {}
        self._sizes = {}
        self._owners = {}
        self._unions = Unions()
        self._lost = {}
        self._in_modules = containers_of_workspace()
        signal.signal(signal.SIGALRM, _too_long)

    def units(self):
        """Yields the kind and the groups of each unit of names."""
        values, definitions = self._names()
        self._definitions = {id(self._space[name]): name for name in reversed(definitions)}
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

    def attributes(self):
        """Returns what the code has put into modules and classes of libraries, as settings, and lists the rest."""
        changed, contents = changed_attributes(self._space, self._statements)
        places = dict.fromkeys(changed) | dict.fromkeys(own_attributes(self._space, self._is_own))
        found = {}
        for place in places:
            module, path = place
            name, value = ".".join((module, *path)), value_of(place)
            if value and self._is_movable(value[0]):
                found[f"attribute {name}"] = (module, path, value[0])
            else:
                reason = DELETED if not value else CONTENT if place in contents else PATCH
                self._skip(name, reason, "attribute of a module")
        for name in added_modules():
            self._skip(name, ADDED, "entry of sys.modules")
        return found

    def _is_movable(self, value):
        """Whether a copy of this value may take its place in a module."""
        return is_plain(value) or is_of_library(value) or (self._is_own(value) and not _has_cells(value))

    def skip_lost(self):
        """Lists the fields of saved objects that do not come back."""
        unsaved = {each["name"] for each in self.unsaved}
        for holder, field, reason in self._lost:
            if holder not in unsaved:
                self._skip(f"{field} in {holder}", reason, "field")

    def skip_process(self, beside):
        """Lists what belongs to the process and is not saved."""
        calls = lasting_calls(self._space, self._statements, resolved_in_library)
        for name, kind, reason in (*beside, *calls, *filled_caches(self._space)):
            self._skip(name, reason, kind)

    def rerun(self):
        """Lists the statements that make names again which cannot be saved, in place of these."""
        order = {name: number for number, name in enumerate(self._space)}
        failed = [each for each in self.unsaved if each["name"] in order]
        if not failed:
            return
        history = History(self._statements, complete=self._knows_all)
        holders = Counter(id(self._space[each["name"]]) for each in failed)
        for each in sorted(failed, key=lambda each: order[each["name"]])[:SOURCES]:
            name = each["name"]
            if holders[id(self._space[name])] > 1:
                continue  # Two statements would make two objects of it.
            with contextlib.suppress(Exception):
                if source := history.statement_for(name, self._space[name], self._space, self._workspace):
                    self.unsaved.remove(each)
                    self.sources.append({"name": plain(name), "kind": "value", "source": source, "rerun": True})

    def settings(self, objects):
        """Pickles the settings. Returns their groups; one that cannot be saved is listed."""
        groups = []
        for name, value in objects.items():
            try:
                group, _ = self._pickle([name], [value], defines=False, apart=False)
                groups.append(group)
            except BaseException as error:
                self._skip(name, self._reason(error), "setting")
        return groups

    def skip_variables(self, names):
        """Lists variables of the environment that are not saved."""
        for name in names:
            self._skip(name, VARIABLE, "variable of the environment")

    def described(self, group):
        return [
            {"name": plain(name), "type": type_name(type(self._space.get(name)))[:200], "size_bytes": size}
            for name, size in group.sizes.items()
        ]

    # ---- names -------------------------------------------------------------------------------------------

    def _names(self):
        """Returns the names of the values and of the definitions, and lists the imported modules."""
        values: list[str] = []
        definitions: list[str] = []
        functions = sys.modules.get("codeact_functions")
        ours = {name: getattr(functions, name, None) for name in getattr(functions, "NAMES", ())}
        for name in sorted(name for name in self._space if type(name) is str):
            value = self._space[name]
            if OF_IPYTHON.fullmatch(name) or (name in ours and ours[name] is value):
                continue
            if name in self._hidden and self._hidden[name] is value:
                continue
            if len(values) + len(definitions) >= NAMES:
                self._skip(name, "there are too many names")
            elif type(value) is types.ModuleType and is_importable(value):
                self.imports.append({"name": plain(name), "module": plain(value.__name__)})
            elif (type(value) is types.FunctionType and value.__globals__ is self._space) or (
                isinstance(value, type) and module_of(value) == "__main__"
            ):
                definitions.append(name)
            else:
                values.append(name)
        return values, definitions

    def _is_own(self, value):
        if type(value) is types.FunctionType:
            return value.__globals__ is self._space
        return isinstance(value, type) and module_of(value) == "__main__"

    def _list_sources(self, definitions):
        """Lists the sources of definitions. One that cannot be pickled comes back by running its source again."""
        failed = {each["name"]: each for each in self.unsaved}
        order = {name: number for number, name in enumerate(self._space)}
        for name in sorted(definitions, key=order.__getitem__)[:SOURCES]:
            value = self._space[name]
            is_class = isinstance(value, type)
            found = class_source(value, SOURCE_CHARS) if is_class else source_of(value.__code__, SOURCE_CHARS)
            entry = {"name": plain(name), "kind": "class" if is_class else "function", "source": found}
            rerun = name in failed and 0 < len(found) < SOURCE_CHARS and name == value.__name__
            if rerun and (is_class or not value.__closure__) and is_remade(found, value, self._space):
                self.unsaved.remove(failed[name])
                entry["rerun"] = True
            if found:
                self.sources.append(entry)

    # ---- pickles -----------------------------------------------------------------------------------------

    def _alone(self, name, *, defines):
        """Pickles one name, to find out whether that works, and with which other names it shares objects."""
        try:
            group, shared = self._pickle([name], [self._value(name)], defines=defines)
        except BaseException as error:
            self._skip(name, self._reason(error))
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
                self._skip(name, self._reason(error))
            return None
        self._left -= size
        return group

    def _value(self, name):
        """The value of a name, or a reference to the variable of a module of the workspace that is the same object."""
        value = self._space[name]
        place = self._in_modules.get(id(value))
        return value if place is None else Reference(*place)

    def _pickle(self, names, values, *, defines, apart=True):
        """Returns a group, and the objects in it that other groups may share."""
        buffers: list[Any] | None = [] if apart else None
        left_s = self.ends_at - time.monotonic()
        if left_s <= 0:
            raise TooLong
        sink = Sink(self._limits["group_bytes"])
        pickler = StatePickler(sink, self._space, self._definitions, buffers, defines=defines)
        try:
            signal.setitimer(signal.ITIMER_REAL, min(self._limits["group_s"], left_s))
            pickler.dump(tuple(values))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        size = sum(map(len, buffers or ()))
        sink.take(size)
        stream = b"".join(sink.pieces)
        group = Group(dict.fromkeys(names, (len(stream) + size) // len(names)), stream, buffers or [])
        self._lost.update(dict.fromkeys((names[0], *each) for each in pickler.left_out.items()))
        memo, referred = pickler.memo.copy(), pickler.referred
        return group, [obj for number, (_, obj) in memo.items() if number not in referred and is_shareable(obj)]

    def _reason(self, error):
        if isinstance(error, TooLong):
            return f"it took longer than {self._limits['group_s']:g} s, or than was left"
        if isinstance(error, NotSaved):
            return str(error)
        if isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError):
            return "it is nested too deeply"
        if isinstance(error, MemoryError):
            return "there was not enough memory for a copy of it"
        if isinstance(error, TypeError) and (found := UNPICKLABLE.match(words(error))):
            return f"it is, or holds, what only this process can have: {found[1]}"
        return f"{type(error).__name__}: {words(error)}"[:500]

    def _skip(self, name, reason, kind=None):
        if len(self.unsaved) >= NAMES:
            return  # The server takes no longer list.
        kind = kind or type_name(type(self._space.get(name)))
        self.unsaved.append({"name": plain(name), "type": kind[:200], "reason": encodable(reason)[:500]})


def _mark_figures():
    if "matplotlib.pyplot" in sys.modules:
        with contextlib.suppress(Exception):
            mark_figures()


def _too_long(number, frame):
    raise TooLong


def _has_cells(value):
    return bool(getattr(value, "__closure__", None))
