"""Imports libraries in a thread: an import can take a third of a second, in which the event loop would stand still."""

import asyncio
from importlib import import_module

__all__ = ["import_in_thread"]

_imported: set[str] = set()


async def import_in_thread(*modules: str) -> None:
    """Imports the modules, so that an `import` statement for them takes no time afterwards.

    Raises what the import raises. Concurrent calls are allowed; cancelling leaves the import to its thread.
    """
    # Not `sys.modules`: a module is there already while another thread is still importing it.
    for module in modules:
        if module not in _imported:
            await asyncio.to_thread(import_module, module)
            _imported.add(module)
