"""Restores a checkpoint in a fresh kernel: takes its parts in the order of the manifest, and unpickles complete units.

`kernel_state.py` imports it inside of a sandbox. The server has checked each part against its hash. What cannot be
restored is named, with the reason; a unit is unpickled only once all of its parts are there.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import importlib
import io
import os
import pickle
import sys
from typing import Any

import kernel_state_objects  # type: ignore[import-not-found]  # noqa: F401  # Pickles name its functions.
from kernel_state_files import write_file  # type: ignore[import-not-found]
from kernel_state_instances import not_set  # type: ignore[import-not-found]
from kernel_text import encodable, words  # type: ignore[import-not-found]

__all__ = ["Restoration"]

LARGE_BYTES = 8_192
"""Smaller blobs are no arrays' memory."""


class Restoration:
    """One restoration: `begin`, then `put` with all parts, then `finish`. Each returns what came back and what not."""

    def __init__(self, kernel, manifest, settings):
        self._kernel = kernel
        self._manifest = manifest
        self._settings = settings
        self._space = kernel.shell.user_ns
        self._again: list[Any] = []
        self._steps = iter(
            [
                *((self._file, file, [file["content"]]) for file in manifest.get("files", ())),
                (self._enter, None, []),
                *((self._unit, unit, [unit["stream"], *unit.get("buffers", ())]) for unit in manifest["units"]),
            ]
        )
        self._step: Any = None
        self._blobs: list[Any] = []
        self._number = self._offset = 0
        self._found: dict[str, list[Any]] = {"names": [], "files": [], "rerun": [], "unsaved": []}

    def begin(self):
        python = ".".join(self._manifest["python"].split(".")[:2])
        own = f"{sys.version_info.major}.{sys.version_info.minor}"
        if python != own:
            return {
                "status": "failed",
                "reason": f"the checkpoint is of Python {python}, and this sandbox has Python {own}",
            }
        self._settings.restore_environment(self._manifest.get("environment", {}))
        self._next()
        return self._result()

    def put(self, buffers, *, lost):
        """Takes parts. With `lost`, the rest of the current step is missing after them."""
        for buffer in buffers:
            while len(buffer) > self._missing():
                raise ValueError("the parts are more than the manifest names")
            self._take(buffer)
            self._run_complete()
        if lost:
            self._fail_step("a part of it is lost or damaged")
            self._next()
        self._run_complete()
        return self._result()

    def finish(self):
        if self._step is not None:
            self._fail_step("a part of it is missing")
        waiting, self._again = self._again, []
        for kind, group, stream, buffers in waiting:
            self._load(kind, group, stream, buffers, last=True)
        for source in self._manifest.get("sources", ()):
            if source.get("rerun") and source["kind"] == "value":
                self._kernel.ran.add_text(source["source"])
                self._rerun(source)
        return self._result()

    # ---- steps -------------------------------------------------------------------------------------------

    def _next(self):
        """Goes on to the next step, and allocates the memory for its blobs."""
        self._step = next(self._steps, None)
        self._blobs = [_memory(blob["size_bytes"]) for blob in self._step[2]] if self._step else []
        self._number = self._offset = 0
        self._skip_full()
        self._run_complete()

    def _missing(self):
        return sum(len(blob) for blob in self._blobs[self._number :]) - self._offset

    def _take(self, part):
        blob = self._blobs[self._number]
        blob[self._offset : self._offset + len(part)] = part
        self._offset += len(part)
        self._skip_full()

    def _skip_full(self):
        while self._number < len(self._blobs) and self._offset == len(self._blobs[self._number]):
            self._number += 1
            self._offset = 0

    def _run_complete(self):
        while self._step is not None and self._number == len(self._blobs):
            apply, entry, _ = self._step
            blobs = self._blobs
            self._step, self._blobs = None, []
            apply(entry, blobs)
            self._next()

    def _result(self):
        while not_set:
            self._unsaved(*not_set.pop())
        found, self._found = self._found, {"names": [], "files": [], "rerun": [], "unsaved": []}
        return {"status": "ok", **found}

    # ---- applying ----------------------------------------------------------------------------------------

    def _file(self, file, blobs):
        try:
            write_file(self._kernel.workspace, file, blobs[0])
            self._found["files"].append(file["path"])
        except OSError as error:
            self._fail(file["path"], "file", error)

    def _enter(self, _entry, _blobs):
        """Changes to the working directory, imports modules, and runs the sources of what could not be pickled."""
        place = os.path.join(self._kernel.workspace, self._manifest.get("cwd", "."))
        try:
            if not os.path.relpath(place, self._kernel.workspace).startswith(".."):
                os.makedirs(place, exist_ok=True)
            os.chdir(place)
        except OSError as error:
            self._fail("the working directory", "directory", error)
        for each in self._manifest.get("imports", ()):
            try:
                self._space[each["name"]] = importlib.import_module(each["module"])
            except BaseException as error:
                self._fail(each["name"], "module", error)
        for source in self._manifest.get("sources", ()):
            if source.get("rerun") and source["kind"] != "value":
                self._rerun(source)

    def _rerun(self, source):
        try:
            exec(compile(source["source"], f"<{source['name']}>", "exec"), self._space)  # noqa: S102
            self._found["rerun"].append(source["name"])
        except BaseException as error:
            self._fail(source["name"], source["kind"], error)

    def _unit(self, unit, blobs):
        stream, *buffers = blobs
        start = 0
        for group in unit["groups"]:
            end = start + group["pickle_bytes"]
            self._load(unit["kind"], group, memoryview(stream)[start:end], buffers)
            start = end

    def _load(self, kind, group, stream, buffers, *, last=False):
        try:
            values = Unpickler(io.BytesIO(stream), buffers=[pickle.PickleBuffer(each) for each in buffers]).load()
            if len(values) != len(group["names"]):
                raise ValueError("the checkpoint contradicts itself")
        except NotYet as error:
            if not last:
                self._again.append((kind, group, stream, buffers))
                return
            self._fail_group(group, error)
            return
        except BaseException as error:
            self._fail_group(group, error)
            return
        for described, value in zip(group["names"], values, strict=True):
            name = described["name"]
            if kind == "settings":
                try:
                    self._kernel.change_context(self._settings.apply, name, value)
                except Exception as error:
                    self._fail(name, "setting", error)
            else:
                self._space[name] = value
                self._found["names"].append(name)

    # ---- what did not come back --------------------------------------------------------------------------

    def _fail_step(self, reason):
        apply, entry = self._step[:2]
        if apply == self._file:
            self._unsaved(entry["path"], "file", reason)
        elif apply == self._unit:
            for group in entry["groups"]:
                self._fail_group(group, reason)

    def _fail_group(self, group, error):
        for described in group["names"]:
            self._fail(described["name"], described["type"], error)

    def _fail(self, name, kind, error):
        reason = error if isinstance(error, str) else f"{type(error).__name__}: {words(error)}"
        self._unsaved(name, kind, reason)

    def _unsaved(self, name, kind, reason):
        self._found["unsaved"].append({"name": name, "type": kind, "reason": encodable(reason)[:500]})


def _memory(size):
    """Allocates memory of which an array may be made."""
    numpy = sys.modules.get("numpy")
    return bytearray(size) if numpy is None or size < LARGE_BYTES else memoryview(numpy.empty(size, "u1"))


class NotYet(Exception):
    """A pickle needs a name of the notebook that has not come back yet."""


class Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if module == "__main__":
            space = vars(sys.modules["__main__"])
            if name.partition(".")[0] not in space:
                raise NotYet(f"it needs {name}, which did not come back")
        return super().find_class(module, name)
