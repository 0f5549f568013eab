"""What runs inside a sandbox: a connection file and a working directory enter, a Jupyter kernel serves.

    python kernel_main.py CONNECTION_FILE WORKING_DIRECTORY

Run as a script by an interpreter that has ipykernel and need not have anything of ours. Writes the line
`ready` to stdout once its sockets are bound and it can take requests.
"""

# It overrides methods that ipykernel leaves untyped:
# mypy: allow-untyped-defs, allow-untyped-calls

# Collecting garbage while modules are imported finds none, and takes a tenth of the start.
import gc

gc.disable()

import ast  # noqa: E402
import asyncio  # noqa: E402
import codeop  # noqa: E402
import contextlib  # noqa: E402
import fcntl  # noqa: E402
import importlib.util  # noqa: E402
import os  # noqa: E402
import re  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
import types  # noqa: E402
from typing import Any  # noqa: E402

# ipykernel looks for a debugger, and imports the clients and managers of kernels along with the few functions of
# jupyter_client that it needs: without them it starts 65 ms sooner and 10 MB smaller. The code may import both.
sys.modules["debugpy"] = None  # type: ignore[assignment]
found = importlib.util.find_spec("jupyter_client")
if found is not None:  # Else the import of ipykernel says best what is missing.
    lean: Any = types.ModuleType("jupyter_client")
    lean.__path__ = found.submodule_search_locations
    lean.BlockingKernelClient = object
    sys.modules["jupyter_client"] = lean

    from jupyter_client import connect

    vars(lean).update({name: getattr(connect, name) for name in connect.__all__})

import ipykernel.debugger  # noqa: E402, F401
import zmq  # noqa: E402
from ipykernel.compiler import XCachingCompiler  # noqa: E402
from ipykernel.ipkernel import IPythonKernel  # noqa: E402
from ipykernel.kernelapp import IPKernelApp  # noqa: E402
from ipykernel.zmqshell import ZMQInteractiveShell  # noqa: E402
from IPython.core.error import StdinNotImplementedError  # noqa: E402
from traitlets.config import Config  # noqa: E402

# An interpreter that is isolated does not look beside its script.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

from kernel_limits import die_with_parent, limit_behind, limit_files  # type: ignore[import-not-found]  # noqa: E402
from kernel_streams import LiveStream, encodable, start_thread  # type: ignore[import-not-found]  # noqa: E402

del sys.path[0]
sys.dont_write_bytecode = False

PIP = re.compile(r"\bpip3?\s+(install|download)\b")
ERROR_CHARS = 100_000
MESSAGE_BYTES = 32 * 1024 * 1024
NOBODY_ANSWERS = (
    "Nobody can answer input() here. Put the value into the code, or end the code and ask the user in your answer."
)
NO_NETWORK = "This sandbox has no network: nothing can be downloaded. `%pip list` shows what is installed."


class WholeCellCompiler(XCachingCompiler):
    """Compiles the whole cell before its first statement runs, so that a syntax error means: nothing ran."""

    def __init__(self) -> None:
        super().__init__()
        # Made for prompts that wait for more lines; Python 3.13 would raise `_IncompleteInputError`.
        self.flags &= ~codeop.PyCF_ALLOW_INCOMPLETE_INPUT  # type: ignore[attr-defined]

    def ast_parse(self, source, filename="<unknown>", symbol="exec"):
        tree: Any = super().ast_parse(source, filename, symbol)
        compile(tree, filename, symbol, self.flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        return tree


class Shell(ZMQInteractiveShell):
    async def run_ast_nodes(self, nodelist, *args, **kwargs):
        # An interrupt raises only from here on: anywhere else it would cost the client the reply.
        cell = self.kernel.awaiting_cell
        handler = signal.default_int_handler if cell is None else _canceller(cell)
        saved_handler = signal.signal(signal.SIGINT, handler)
        try:
            if self.kernel.stop_requested:
                nodelist = ast.parse("raise KeyboardInterrupt").body
            return await super().run_ast_nodes(nodelist, *args, **kwargs)
        finally:
            signal.signal(signal.SIGINT, saved_handler)

    def ask_exit(self):
        """`exit()` ends the cell, as `sys.exit()` does, and not the kernel with all its variables."""
        raise SystemExit

    def _showtraceback(self, etype, evalue, stb):
        text = "\n".join(stb)
        stb = [encodable(line) for line in stb] if len(text) <= ERROR_CHARS else [shortened(text)]
        super()._showtraceback(etype, shortened(str(evalue)), stb)

    def system(self, cmd):
        super().system(cmd)
        if PIP.search(cmd) and self.user_ns.get("_exit_code") and not has_network():
            print(NO_NETWORK, file=sys.stderr)  # noqa: T201


class Kernel(IPythonKernel):
    shell_class = Shell
    compiler_class = WholeCellCompiler
    shell: Any
    interrupted_id = None
    awaiting_cell = None
    workspace = os.path.realpath(sys.argv[2])

    @property
    def stop_requested(self):
        """Whether an interrupt named the running request, perhaps before its code began."""
        return self.get_parent("shell").get("msg_id") == self.interrupted_id

    async def interrupt_request(self, stream, ident, parent):
        self.interrupted_id = parent["content"].get("request_id")
        await super().interrupt_request(stream, ident, parent)

    def pre_handler_hook(self):
        """Leaves SIGINT ignored, as it is while the kernel is idle; see `Shell.run_ast_nodes`."""

    def post_handler_hook(self):
        pass

    @contextlib.contextmanager
    def _cancel_on_sigint(self, future):
        """Entered for a cell with `await` in it, which is a task of its own."""
        self.awaiting_cell = future
        try:
            yield
        finally:
            self.awaiting_cell = None

    async def do_execute(self, *args, **kwargs):
        reply = await super().do_execute(*args, **kwargs)
        for stream in LiveStream.streams:
            stream.pump()
        if "evalue" in reply:
            reply["evalue"] = shortened(reply["evalue"])
        reply["payload"] = []
        return reply

    def finish_metadata(self, parent, metadata, reply_content):
        metadata = super().finish_metadata(parent, metadata, reply_content)
        result = self.shell.last_execution_result
        if result is not None and isinstance(result.error_before_exec, SyntaxError):
            metadata["syntax_error"] = True
        if result is not None:
            metadata["limit"] = limit_behind(result.error_in_exec, self.workspace)
        return metadata

    def raw_input(self, prompt=""):
        raise StdinNotImplementedError(NOBODY_ANSWERS)

    def getpass(self, prompt="", stream=None, **kwargs):
        raise StdinNotImplementedError(NOBODY_ANSWERS)

    async def poll_stopped_queue(self):
        """There is no debugger to poll."""


class KernelApp(IPKernelApp):
    kernel_class = Kernel

    def init_heartbeat(self):
        """Nobody asks for it: the client watches its connections."""

    def init_iopub(self, context):
        super().init_iopub(context)
        # Without it, what a slow client has not read yet is dropped past the high-water mark.
        self.iopub_thread.socket.setsockopt(zmq.XPUB_NODROP, 1)
        serialize = self.session.serialize

        def serialize_limited(message, ident=None):
            """Of an output too large to show only the size is sent."""
            header, content = message["header"], message["content"]
            # Looked at before it is encoded too: that takes seconds and several times the memory.
            size = sum(len(value) for value in content.get("data", {}).values() if isinstance(value, str))
            if size <= MESSAGE_BYTES:
                frames = serialize(message, ident)
                size = sum(len(frame) for frame in frames)
                if size <= MESSAGE_BYTES or header["msg_type"].endswith("_reply"):
                    return frames
            omitted = {"header": {**header, "msg_type": "codeact_omitted"}, "content": {"size_bytes": size}}
            return serialize({**message, **omitted}, ident)

        self.session.serialize = serialize_limited


def _canceller(cell):
    """A handler that interrupts a cell with `await` in it: cancels what it awaits, or raises if it computes."""
    loop = asyncio.get_running_loop()

    def cancel(number, frame):
        if asyncio.current_task(loop) is cell:
            raise KeyboardInterrupt
        # ipykernel's own handler does not wake the loop, which then notices at its next event only.
        loop.call_soon_threadsafe(cell.cancel)

    return cancel


def shortened(text):
    if len(text) > ERROR_CHARS:
        half = ERROR_CHARS // 2
        text = f"{text[:half]} [… {len(text) - 2 * half:,} characters …] {text[-half:]}"
    return encodable(text)


def has_network():
    return any(name != "lo" for _, name in socket.if_nameindex())


def prepare_pip(directory):
    """What pip installs goes into the workspace, the rest being read-only, and is found there."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    packages = f"{directory}/.local/lib/python{version}/site-packages"
    os.environ |= {"PIP_PREFIX": f"{directory}/.local", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    os.environ["PYTHONPATH"] = packages
    if not has_network():
        os.environ["PIP_RETRIES"] = "0"
    # It must be there before anything is imported: importers look only once whether a directory exists.
    os.makedirs(packages, exist_ok=True)
    sys.path.append(packages)


def main():
    connection_file, directory = sys.argv[1:]
    # An interrupt reaches the children of the code only if the kernel leads its own process group.
    if os.getpgrp() != os.getpid():
        os.setsid()
    die_with_parent()
    limit_files()
    os.chdir(directory)
    prepare_pip(directory)
    ready = os.dup(1)
    fcntl.fcntl(ready, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    config = Config()
    config.IPKernelApp.connection_file = connection_file
    config.IPKernelApp.outstream_class = "kernel_streams.LiveStream"
    config.IPKernelApp.parent_handle = 1  # The value that starts no parent poller and prints no banner.
    config.HistoryManager.enabled = False
    config.InteractiveShell.display_page = True  # `name?` shows its text as an output, there being no pager.
    app = KernelApp.instance(config=config)
    app.initialize([])
    setattr(threading.Thread, "start", start_thread)  # noqa: B010
    del sys.modules["debugpy"], sys.modules["jupyter_client"]
    gc.freeze()
    gc.enable()
    os.write(ready, b"ready\n")
    os.close(ready)
    sys.path.insert(0, "")
    app.start()


if __name__ == "__main__":
    main()
