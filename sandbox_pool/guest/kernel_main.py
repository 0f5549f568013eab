"""The program that runs in a sandbox: serves a Jupyter kernel on the sockets that a connection file names.

    python kernel_main.py CONNECTION_FILE WORKING_DIRECTORY

The interpreter needs ipykernel, but none of our packages. The program writes the line `ready` to stdout once its
sockets are bound and it accepts requests.
"""

# This module overrides untyped methods of ipykernel:
# mypy: allow-untyped-defs, allow-untyped-calls

# Garbage collection during the imports would find nothing, and take a tenth of the start.
import gc

gc.disable()

import asyncio  # noqa: E402
import contextlib  # noqa: E402
import contextvars  # noqa: E402
import fcntl  # noqa: E402
import hmac  # noqa: E402
import importlib.util  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
import types  # noqa: E402
import warnings  # noqa: E402
from typing import Any  # noqa: E402

# ipykernel imports a debugger, and all of jupyter_client for a few functions. Hiding both saves 65 ms of the start and
# 10 MB of memory. The code can import both later.
sys.modules["debugpy"] = None  # type: ignore[assignment]
found = importlib.util.find_spec("jupyter_client")
if found is not None:  # Otherwise, importing ipykernel below raises the best error.
    lean: Any = types.ModuleType("jupyter_client")
    lean.__path__ = found.submodule_search_locations
    lean.BlockingKernelClient = object
    sys.modules["jupyter_client"] = lean

    from jupyter_client import connect

    vars(lean).update({name: getattr(connect, name) for name in connect.__all__})

import ipykernel.debugger  # noqa: E402
import ipykernel.displayhook  # noqa: E402
import ipykernel.kernelbase  # noqa: E402
import ipykernel.zmqshell  # noqa: E402
import zmq  # noqa: E402
from ipykernel.ipkernel import IPythonKernel  # noqa: E402
from ipykernel.kernelapp import IPKernelApp  # noqa: E402
from IPython.core.error import StdinNotImplementedError  # noqa: E402
from tornado import ioloop  # noqa: E402
from traitlets.config import Config  # noqa: E402

# An isolated interpreter does not search the directory of its script.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

from kernel_cleanup import BlockCleanup, Steady  # type: ignore[import-not-found]  # noqa: E402
from kernel_clues import clue_to, installed  # type: ignore[import-not-found]  # noqa: E402
from kernel_eager import OpenBlock, Sources  # type: ignore[import-not-found]  # noqa: E402
from kernel_egress import open_egress  # type: ignore[import-not-found]  # noqa: E402
from kernel_inventory import inventory  # type: ignore[import-not-found]  # noqa: E402
from kernel_libraries import adapt_libraries  # type: ignore[import-not-found]  # noqa: E402
from kernel_limits import MemoryKills, die_with_parent, limit_behind, limit_files  # type: ignore[import-not-found]  # noqa: E402
from kernel_loop import allow_nested_loops, keep_context, keep_running  # type: ignore[import-not-found]  # noqa: E402
from kernel_memory import forget_failure, forget_result  # type: ignore[import-not-found]  # noqa: E402
from kernel_shell import Shell, WholeCellCompiler, has_network  # type: ignore[import-not-found]  # noqa: E402
from kernel_state import States  # type: ignore[import-not-found]  # noqa: E402
from kernel_state_blocks import Blocks  # type: ignore[import-not-found]  # noqa: E402
from kernel_streams import LiveStream, start_thread  # type: ignore[import-not-found]  # noqa: E402
from kernel_text import encodable_tree, shortened, words  # type: ignore[import-not-found]  # noqa: E402

del sys.path[0]
sys.dont_write_bytecode = False

FORGET_S = 0.005
MOST_PACKAGES = 1_000
MESSAGE_BYTES = 32 * 1024 * 1024
OUTPUTS = {"stream", "display_data", "update_display_data", "execute_result", "error", "clear_output"}
CLEAN = {"stream", "status"}
"""Messages without text of the code, or with text that is known to be encodable."""
KILLED_FOR_MEMORY = "A process that the code had started was killed: the sandbox's memory (memory_mb) was used up."
NOBODY_ANSWERS = (
    "Nobody can answer input() here. Put the value into the code, or end the code and ask the user in your answer."
)


class Kernel(IPythonKernel):
    shell_class = Shell
    compiler_class = WholeCellCompiler
    shell: Any
    cleanup: Any
    memory_kills: Any
    sources: Any
    interrupted_id = None
    awaiting_cell = None
    left_context = None
    states: Any = None
    ran: Any = None
    context_of_code: Any = contextvars.Context()
    restored_context: Any = None
    executing = silent = False
    blocks = 0
    workspace = os.path.realpath(sys.argv[2])

    @property
    def stop_requested(self):
        """Whether an interrupt for the running request has come, perhaps before its code began."""
        return self.get_parent("shell").get("msg_id") == self.interrupted_id

    async def interrupt_request(self, stream, ident, parent):
        self.interrupted_id = parent["content"].get("request_id")
        self.sources.wake()
        await super().interrupt_request(stream, ident, parent)

    async def process_control(self, msg):
        """Takes further text of an open block. The control channel has its own thread, so a busy kernel does, too.

        ipykernel would flush the streams after the message: the main thread, which runs the text, would wait for that.
        """
        session: Any = self.session
        _, frames = session.feed_identities(msg, copy=False)
        signature, *parts = [bytes(frame.bytes) for frame in frames[:5]] or [b""]
        if len(parts) < 4 or b'"codeact_source"' not in parts[0]:
            await super().process_control(msg)
        elif hmac.compare_digest(signature, session.sign(parts)):
            content = json.loads(parts[3])
            self.sources.add(content["request_id"], content["statements"], content["ended"])
        else:
            self.log.error("A message with the text of a block has a wrong signature.")

    def _publish_status(self, status, channel, parent=None):
        """Tells the status of the shell channel alone: nobody reads that of the control channel."""
        if channel != "control":
            super()._publish_status(status, channel, parent)

    async def inventory_request(self, stream, ident, parent):
        """Sends the inventory. The control channel has its own thread, so a busy kernel answers, too."""
        content = inventory(self.shell, self.workspace)
        session: Any = self.session
        session.send(stream, "codeact_inventory_reply", content, parent, ident=ident)

    async def state_request(self, stream, ident, parent):
        """Handles a request about checkpoints, in the control thread."""
        await self.states.request(stream, ident, parent)

    def change_context(self, function, *args):
        """Calls a function. The next block has the context variables that it sets."""
        if self.restored_context is None:
            self.restored_context = contextvars.Context()
        self.restored_context.run(function, *args)

    def pre_handler_hook(self):
        """Does not change the handler of SIGINT, which is ignored outside of `Shell.run_ast_nodes`."""

    def post_handler_hook(self):
        pass

    @contextlib.contextmanager
    def _cancel_on_sigint(self, future):
        """ipykernel enters this for a cell with `await` in it, which runs as a separate task."""
        self.awaiting_cell = future
        try:
            yield
        finally:
            self.awaiting_cell = None

    async def do_execute(self, code, silent, *args, **kwargs):
        self.left_context = None
        self.executing, self.silent, self.blocks = True, silent, self.blocks + 1
        self.states.pause()
        if self.restored_context is not None:
            keep_context(self.restored_context)
            self.restored_context = None
        if not silent:
            self.cleanup.tell()
        try:
            more = self.get_parent("shell")["content"].get("codeact_open")
            if more is not None:
                self.shell.open_block = block = OpenBlock(self, code, more)
                code = block.first()
                self.shell.compile.block = self.shell.execution_count
            reply = await super().do_execute(code, silent, *args, **kwargs)
        except BaseException as error:
            # A callback of the code failed, or the code cancelled this task. The client still needs a reply.
            reply = self.failed(error)
        finally:
            self.executing = False
            self.states.resume()
        self.shell.open_block = None
        self.cleanup.restore_streams()
        if self.memory_kills.new():
            self.cleanup.note(KILLED_FOR_MEMORY)
        if not silent:
            self.cleanup.tell()
        if self.left_context is not None:
            keep_context(self.left_context)
        self.context_of_code = contextvars.copy_context()
        for stream in LiveStream.streams:
            stream.pump()
        if "evalue" in reply:
            reply["evalue"] = shortened(reply["evalue"])
        reply["payload"] = []
        return reply

    def failed(self, error):
        name, text = type(error).__name__, words(error)
        with contextlib.suppress(Exception):
            self.shell.showtraceback((type(error), error, error.__traceback__))
        self.log.error("The end of a block failed: %s: %s", name, text)
        count = self.shell.execution_count - 1
        return {
            "status": "error",
            "ename": name,
            "evalue": text,
            "traceback": [f"{name}: {text}"],
            "execution_count": count,
            "user_expressions": {},
        }

    async def execute_request(self, stream, ident, parent):
        await super().execute_request(stream, ident, parent)
        forget_result(self.shell)
        if self.shell.execution_count == 1:
            self.states.prepare()
            # Modules loaded before the code stay for good: exclude them from garbage collection.
            gc.freeze()
        if self.shell.last_execution_succeeded is False:
            # Wait until the client has the reply and nothing here refers to the error any more.
            asyncio.get_running_loop().call_later(FORGET_S, forget_failure, self.shell)

    def finish_metadata(self, parent, metadata, reply_content):
        metadata = super().finish_metadata(parent, metadata, reply_content)
        result = self.shell.last_execution_result
        if result is not None and isinstance(result.error_before_exec, SyntaxError):
            metadata["syntax_error"] = True
        if result is not None:
            metadata["limit"] = limit_behind(result.error_in_exec, self.workspace)
            metadata["clue"] = clue_to(result.error_in_exec)
        return metadata

    @property
    def kernel_info(self):
        """ipykernel's reply, and the installed distributions: their names, which the model is told, and versions."""
        found = installed()[:MOST_PACKAGES]
        return {
            **super().kernel_info,
            "packages": [name for name, _ in found],
            "versions": [version for _, version in found],
        }

    def raw_input(self, prompt=""):
        raise StdinNotImplementedError(NOBODY_ANSWERS)

    def getpass(self, prompt="", stream=None, **kwargs):
        raise StdinNotImplementedError(NOBODY_ANSWERS)

    async def poll_stopped_queue(self):
        """Does nothing: there is no debugger to poll."""


class KernelApp(IPKernelApp):
    kernel_class = Kernel

    def init_heartbeat(self):
        """Does nothing: the client does not use the heartbeat, but monitors its connections."""

    def init_iopub(self, context):
        super().init_iopub(context)
        # Otherwise ZeroMQ would drop messages for a slow client at its high-water mark.
        self.iopub_thread.socket.setsockopt(zmq.XPUB_NODROP, 1)
        serialize = self.session.serialize

        def serialize_limited(message, ident=None):
            """Encodes a message. An output that is too large is replaced by a message with its size."""
            header, content = message["header"], message["content"]
            block = OpenBlock.current
            if block is not None and header["msg_type"] in OUTPUTS:
                block.before_output()
            if header["msg_type"] not in CLEAN:
                message = {
                    **message,
                    "content": encodable_tree(content),
                    "metadata": encodable_tree(message["metadata"]),
                }
            # Check the size before encoding, too: encoding takes seconds and several times the memory.
            size = sum(len(value) for value in content.get("data", {}).values() if isinstance(value, str))
            if size <= MESSAGE_BYTES:
                frames = serialize(message, ident)
                size = sum(len(frame) for frame in frames)
                if size <= MESSAGE_BYTES or header["msg_type"].endswith("_reply"):
                    return frames
            omitted = {"header": {**header, "msg_type": "codeact_omitted"}, "content": {"size_bytes": size}}
            return serialize({**message, **omitted}, ident)

        self.session.serialize = serialize_limited

    def start(self):
        self.kernel.start()
        loop: Any = ioloop.IOLoop.current()
        self.io_loop = loop
        self.kernel.states, self.kernel.ran = States(self.kernel, loop.asyncio_loop), Blocks()
        allow_nested_loops(loop.asyncio_loop)
        keep_running(self.io_loop, stopped=lambda: self.kernel.shell.exit_now, ended=self.loop_ended)

    def loop_ended(self, cause):
        self.kernel.cleanup.note(cause)
        if self.kernel.awaiting_cell is not None:
            self.kernel.awaiting_cell.cancel(cause)


def prepare_pip(directory):
    """Makes pip install into the workspace, since all else is read-only, and Python import from there."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    packages = f"{directory}/.local/lib/python{version}/site-packages"
    os.environ |= {"PIP_PREFIX": f"{directory}/.local", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    os.environ["PYTHONPATH"] = packages
    if not has_network():
        os.environ["PIP_RETRIES"] = "0"
    # The directory must exist before the first import: importers check only once whether it does.
    os.makedirs(packages, exist_ok=True)
    sys.path.append(packages)


def preload(shell):
    """Imports the modules that CODEACT_PRELOAD lists, with commas between, and what the first traceback needs.

    A cluster's warm pool sets it: there, no server can do this before the sandbox is asked for.
    """
    names = os.environ.pop("CODEACT_PRELOAD", "")
    if not names:
        return
    for name in names.split(","):
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    try:
        raise Warning("warm")
    except Warning:
        shell.InteractiveTB.structured_traceback(*sys.exc_info())


def main():
    connection_file, directory = sys.argv[1:]
    # An interrupt reaches the children of the code only if the kernel leads its own process group.
    if os.getpgrp() != os.getpid():
        os.setsid()
    die_with_parent()
    limit_files()
    os.chdir(directory)
    open_egress()
    prepare_pip(directory)
    ready = os.dup(1)
    fcntl.fcntl(ready, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    config = Config()
    config.IPKernelApp.connection_file = connection_file
    config.IPKernelApp.outstream_class = "kernel_streams.LiveStream"
    config.IPKernelApp.parent_handle = 1  # The value that starts no parent poller and prints no banner.
    config.HistoryManager.enabled = False
    config.InteractiveShell.display_page = True  # There is no pager, so `name?` shows its text as an output.
    app = KernelApp.instance(config=config)
    app.initialize([])
    app.kernel.cleanup = BlockCleanup()
    app.kernel.memory_kills = MemoryKills()
    app.kernel.sources = Sources()
    app.kernel.control_handlers["codeact_inventory_request"] = app.kernel.inventory_request
    app.kernel.control_handlers["codeact_state_request"] = app.kernel.state_request
    steady = Steady()
    for module in (ipykernel.displayhook, ipykernel.kernelbase, ipykernel.zmqshell):
        setattr(module, "sys", steady)  # noqa: B010
    adapt_libraries(app.shell)
    # The code should not see the kernel's own command line, as in a notebook.
    sys.argv = [""]
    # The warning is about the kernel's own threads, which a fork of the code does not need.
    warnings.filterwarnings("ignore", ".*is multi-threaded, use of fork", DeprecationWarning)
    setattr(threading.Thread, "start", start_thread)  # noqa: B010
    del sys.modules["debugpy"], sys.modules["jupyter_client"]
    preload(app.shell)
    gc.freeze()
    gc.enable()
    os.write(ready, b"ready\n")
    os.close(ready)
    sys.path.insert(0, "")
    app.start()


if __name__ == "__main__":
    main()
