"""Writes a checkpoint of the kernel's state into a pipe, in a fork of the kernel.

`kernel_state.py` imports it inside of a sandbox. The fork writes frames: a letter, the payload's length in four bytes,
and the payload. `P` is a part that the server does not have, `M` a piece of the manifest (JSON), `Z` the end.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import contextlib
import platform
import sys
import warnings
from collections import Counter
from functools import partial
from json import dumps
from typing import Any

from kernel_state_classes import order_of_subclasses  # type: ignore[import-not-found]
from kernel_state_draws import draws_at_start, draws_now  # type: ignore[import-not-found]
from kernel_state_files import changed_files, empty_directories  # type: ignore[import-not-found]
from kernel_state_guard import Guard  # type: ignore[import-not-found]
from kernel_state_imports import UNKNOWN, added_modules  # type: ignore[import-not-found]
from kernel_state_modules import (  # type: ignore[import-not-found]
    changed_attributes,
    is_of_library,
    is_plain,
    own_attributes,
    resolved_in_library,
    value_of,
)
from kernel_state_names import SOURCES, Names  # type: ignore[import-not-found]
from kernel_state_process import filled_caches, lasting_calls, running_beside  # type: ignore[import-not-found]
from kernel_state_replay import History  # type: ignore[import-not-found]
from kernel_state_settings import mark_figures  # type: ignore[import-not-found]
from kernel_state_writer import PART_BYTES, Writer  # type: ignore[import-not-found]
from kernel_values import plain  # type: ignore[import-not-found]

__all__ = ["save"]

VERSION = 1
RECURSION = 8_000
PATCH = "the code put it there; the module is imported again without it"
CONTENT = "the code changed its content; the module is imported again"
ADDED = "the code put it into sys.modules; no import finds it"
DELETED = "the code deleted it; the module is imported again with it"
NOT_COMPARED = "what the code changed there is not known"
VARIABLE = "it is too long, no UTF-8, or one of too many"
MANIFEST_BYTES = 4_000_000
"""The server takes no larger manifest."""


def save(kernel, known, limits, settings, random_state, unchanged, pipe, pages, beside):
    """Writes the checkpoint. Returns whether this fork must be kept for `pages`.

    `known` are the hashes of the parts that the server has. `unchanged` returns the hashes of parts of arrays that need
    not be read, by their places. `beside` are the threads and processes of the code, which the fork does not have.
    """
    recursion = sys.getrecursionlimit()
    sys.setrecursionlimit(RECURSION)
    guard = Guard(limits["deadline_s"])
    filters = guard.look("filters of warnings", lambda: list(warnings.filters), otherwise=[])
    warnings.simplefilter("ignore")
    guard.look("numbers of figures", mark_figures)
    writer = Writer(pipe, known, guard.look("unchanged memory", unchanged, otherwise={}), limits["total_bytes"])
    names = Names(kernel, limits, guard)
    units = []

    def write(kind, groups):
        try:
            units.append(writer.unit(kind, groups, names.described))
        except Exception as error:
            for name in (name for group in groups for name in group.sizes):
                names.skip(name, error)

    for kind, groups in names.units():
        write(kind, groups)
    looks = Looks(kernel, names, guard)
    looks.rerun()
    looks.skip_lost()
    looks.skip_process(settings, beside)
    for what, draws in (
        ("random states at start", draws_at_start),
        ("random states", partial(draws_now, random_state)),
    ):
        if groups := names.settings(guard.look(what, draws, otherwise={})):
            write("settings", groups)
    if groups := names.settings(looks.settings(settings, filters, recursion) | looks.attributes()):
        write("settings", groups)
    environment, left_out = guard.look(
        "environment", settings.plain, kernel.workspace, otherwise=({"cwd": ".", "environment": {}}, [])
    )
    for name in left_out:
        guard.skip(name, "variable of the environment", VARIABLE)
    manifest = {
        "version": VERSION,
        "python": platform.python_version(),
        "execution_count": max(0, kernel.shell.execution_count - 1),
        "units": units,
        "unsaved": guard.unsaved,
        "sources": names.sources,
        "imports": names.imports,
        **environment,
    }
    manifest["files"], unsaved_files = changed_files(kernel.workspace, writer.blob_of_file, guard.ends_at)
    manifest["unsaved"] = [*guard.unsaved, *unsaved_files]
    manifest["total_bytes"] = writer.total
    holds = False
    with contextlib.suppress(OSError):
        holds = pages.write_table(writer.table)
    text = dumps(manifest).encode()
    if len(text) > MANIFEST_BYTES:
        manifest["sources"] = [source for source in manifest["sources"] if source.get("rerun")]
        text = dumps(manifest).encode()
    for start in range(0, len(text), PART_BYTES):
        writer.frame(b"M", text[start : start + PART_BYTES])
    writer.frame(b"Z", b"")
    return holds


class Looks:
    """Finds what the kernel has besides its names: attributes of modules, settings, and what belongs to the process."""

    def __init__(self, kernel, names, guard):
        self._workspace = kernel.workspace
        self._context = kernel.context_of_code
        self._names = names
        self._space = names.space
        self._guard = guard
        self._statements, self._knows_all = guard.look("text of blocks", kernel.ran.statements, otherwise=([], False))

    def settings(self, settings, *before):
        """Returns what of the settings is pickled, by name. `before` is what the fork has changed; see `Settings`."""
        found: dict[str, Any] = {}
        for what, look in settings.looks(*before):
            found |= self._guard.look(what, self._context.run, look, otherwise={})
        if paths := self._guard.look("empty directories", empty_directories, self._workspace, self._guard.skip):
            found["empty directories"] = paths
        if annotations := self._guard.look("annotations", lambda: dict(self._space.get("__annotations__") or {})):
            found["annotations"] = annotations
        if order := self._guard.look("order of subclasses", order_of_subclasses, self._names.classes()):
            found["order of subclasses"] = order
        return found

    def attributes(self):
        """Returns what the code has put into modules and classes of libraries, as settings, and lists the rest."""
        guard = self._guard
        changed, contents = guard.look(
            "changes of modules", changed_attributes, self._space, self._statements, otherwise=([], set())
        )
        own = guard.looks("definitions in modules", own_attributes, self._space, self._names.is_own)
        found = {}
        for place in dict.fromkeys([*changed, *own]):
            module, path = place
            name = ".".join((module, *path))
            value = guard.look(name, value_of, place)
            if value is None:
                continue  # It is listed.
            if value and guard.look(name, self._is_movable, value[0], otherwise=False):
                found[f"attribute {name}"] = (module, path, value[0])
            else:
                reason = DELETED if not value else CONTENT if place in contents else PATCH
                guard.skip(name, "attribute of a module", NOT_COMPARED if path == UNKNOWN else reason)
        for name in guard.looks("modules", added_modules):
            guard.skip(name, "entry of sys.modules", ADDED)
        return found

    def _is_movable(self, value):
        """Whether a copy of this value may take its place in a module."""
        return is_plain(value) or is_of_library(value) or (self._names.is_own(value) and not _has_cells(value))

    def skip_lost(self):
        """Lists the fields of saved objects that do not come back."""
        unsaved = {each["name"] for each in self._guard.unsaved}
        for holder, field, reason in self._names.lost:
            if holder not in unsaved:
                self._guard.skip(f"{field} in {holder}", "field", reason)

    def skip_process(self, settings, beside):
        """Lists what belongs to the process and is not saved."""
        looks = self._guard.looks
        for name, kind, reason in (
            *looks("threads and processes", running_beside, *beside),
            *looks("handlers of signals and of logging", settings.process.unsaved),
            *looks("calls that last", lasting_calls, self._space, self._statements, resolved_in_library),
            *looks("caches of functions", filled_caches, self._space),
        ):
            self._guard.skip(name, kind, reason)

    def rerun(self):
        """Lists the statements that make names again which cannot be saved, in place of these."""
        order = {name: number for number, name in enumerate(self._space)}
        unsaved = self._guard.unsaved
        failed = [each for each in unsaved if each["name"] in order]
        if not failed:
            return
        history = self._guard.look("text of blocks", lambda: History(self._statements, complete=self._knows_all))
        if history is None:
            return
        holders = Counter(id(self._space[each["name"]]) for each in failed)
        for each in sorted(failed, key=lambda each: order[each["name"]])[:SOURCES]:
            name = each["name"]
            if holders[id(self._space[name])] > 1:
                continue  # Two statements would make two objects of it.
            source = self._source(history, name)
            if source:
                unsaved.remove(each)
                self._names.sources.append({"name": plain(name), "kind": "value", "source": source, "rerun": True})

    def _source(self, history, name):
        """Returns the statement that makes this name again; "" if none does for certain."""
        try:
            with self._guard.within(1.0):
                return history.statement_for(name, self._space[name], self._space, self._workspace)
        except BaseException:
            return ""


def _has_cells(value):
    return bool(getattr(value, "__closure__", None))
