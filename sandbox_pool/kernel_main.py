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
import ctypes  # noqa: E402
import errno  # noqa: E402
import fcntl  # noqa: E402
import importlib.util  # noqa: E402
import os  # noqa: E402
import re  # noqa: E402
import resource  # noqa: E402
import select  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
import types  # noqa: E402
from codecs import getincrementaldecoder  # noqa: E402
from typing import Any, ClassVar  # noqa: E402

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
from ipykernel.iostream import OutStream  # noqa: E402
from ipykernel.ipkernel import IPythonKernel  # noqa: E402
from ipykernel.kernelapp import IPKernelApp  # noqa: E402
from ipykernel.zmqshell import ZMQInteractiveShell  # noqa: E402
from IPython.core.error import StdinNotImplementedError  # noqa: E402
from traitlets.config import Config  # noqa: E402

FLUSH_INTERVAL_S = 0.001
STREAM_CHUNK_CHARS = 65_536
PIP = re.compile(r"\bpip3?\s+(install|download)\b")
ERROR_CHARS = 100_000
DESCRIPTORS = 4096
PARENT = "_codeact_parent"
POOLS = "concurrent.futures.thread"
MESSAGE_BYTES = 32 * 1024 * 1024
NOBODY_ANSWERS = (
    "Nobody can answer input() here. Put the value into the code, or end the code and ask the user in your answer."
)
NO_NETWORK = "This sandbox has no network: nothing can be downloaded. `%pip list` shows what is installed."


class LiveStream(OutStream):
    """stdout or stderr: each write leaves within about a millisecond, in order with the other stream.

    What is written to the file descriptor (by subprocesses, by C code) joins the text written from Python
    in the order of the writes as far as it can be known.
    """

    flush_interval = FLUSH_INTERVAL_S
    _fid: int

    order = threading.RLock()
    streams: ClassVar[list[Any]] = []

    def __init__(self, *args, **kwargs):
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._readable = select.poll()
        self._left_at = 0.0
        super().__init__(*args, **kwargs)
        self.streams.append(self)

    def fileno(self):
        return self._original_stdstream_fd

    @property
    def parent_header(self):
        """The execution that what is written now belongs to: in a thread, the one that started the thread."""
        try:
            return self._parent_header.get()
        except LookupError:
            return getattr(threading.current_thread(), PARENT, self._parent_header_global)

    @parent_header.setter
    def parent_header(self, header):
        self._parent_header.set(header)
        self._parent_header_global = header

    def write(self, text):
        with self.order:
            self.pump()
            for other in self.streams:
                if other is not self and other._flush_pending:
                    other._flush()
            length = super().write(text)
        # The end of a line leaves before the code goes on: the thread that sends what is left to it gets no
        # turn while the code is in a C function that keeps the interpreter's lock. So does much text at once, which
        # would pile up without a line's end.
        ended = text.endswith("\n") and time.monotonic() - self._left_at >= FLUSH_INTERVAL_S
        if ended or len(text) >= STREAM_CHUNK_CHARS:
            self.flush()
        return length

    def flush(self):
        """Returns when what was written has been handed to the socket."""
        with self.order:
            self.pump()
            self._flush()
        sender = self.pub_thread.thread
        if sender.is_alive() and sender is not threading.current_thread():
            sent = threading.Event()
            self.pub_thread.schedule(sent.set)
            sent.wait(self.flush_timeout)

    def pump(self):
        """Takes over what waits in the pipe behind the file descriptor; a pipe holds at most 64 KiB."""
        with self.order:
            if self._readable.poll(0) and self._is_master_process():
                super().write(self._decoder.decode(os.read(self._fid, 65_536)))

    def _watch_pipe_fd(self):
        self._readable.register(self._fid, select.POLLIN)
        readable = select.poll()
        readable.register(self._fid, select.POLLIN)
        while self._should_watch:
            readable.poll()
            self.pump()

    def _flush(self):
        with self.order:
            super()._flush()
            self._left_at = time.monotonic()

    def _flush_buffers(self):
        for parent, text in super()._flush_buffers():
            for start in range(0, len(text), STREAM_CHUNK_CHARS):
                yield parent, encodable(text[start : start + STREAM_CHUNK_CHARS])


# A fork while another thread holds the lock would leave it locked in the child for ever.
os.register_at_fork(
    before=LiveStream.order.acquire,
    after_in_parent=LiveStream.order.release,
    after_in_child=LiveStream.order.release,
)


def start_thread(thread, start=threading.Thread.start):
    # The threads of a pool work for whoever has work for them.
    if isinstance(sys.stdout, LiveStream) and getattr(thread._target, "__module__", None) != POOLS:
        setattr(thread, PARENT, sys.stdout.parent_header)
    start(thread)


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


def limit_behind(error, workspace):
    """The name of the limit on the sandbox that has made the code fail; None where there is none."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        for place, name in (("/dev/shm", "shm_mb"), ("/tmp", "tmp_mb"), (workspace, "workspace_mb")):  # noqa: S108
            with contextlib.suppress(OSError):
                space = os.statvfs(place)
                if space.f_bavail == 0:
                    return name
                if space.f_favail == 0:
                    return "workspace_inodes"
        # What was being written has been deleted since.
        return "workspace_mb"
    if isinstance(error, MemoryError):
        return "memory_mb"
    if isinstance(error, (BlockingIOError, RuntimeError)) and not can_start_thread():
        return "pids"
    return None


def can_start_thread():
    try:
        threading.Thread(target=int).start()
    except RuntimeError:
        return False
    return True


def shortened(text):
    if len(text) > ERROR_CHARS:
        half = ERROR_CHARS // 2
        text = f"{text[:half]} [… {len(text) - 2 * half:,} characters …] {text[-half:]}"
    return encodable(text)


def encodable(text):
    """Without lone surrogates, over which a message could not be sent at all."""
    return text.encode("utf-8", "replace").decode()


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


def die_with_parent():
    """A local kernel must not outlive a killed server. Only Linux has it; elsewhere it is a no-op."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def limit_descriptors():
    """Terminals, watches and open files are counted for the whole host, or for all sandboxes together."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = DESCRIPTORS if most == resource.RLIM_INFINITY else min(DESCRIPTORS, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def main():
    connection_file, directory = sys.argv[1:]
    # An interrupt reaches the children of the code only if the kernel leads its own process group.
    if os.getpgrp() != os.getpid():
        os.setsid()
    die_with_parent()
    # The place and the size of a core file would be the host's business.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit_descriptors()
    os.chdir(directory)
    prepare_pip(directory)
    ready = os.dup(1)
    fcntl.fcntl(ready, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    config = Config()
    config.IPKernelApp.connection_file = connection_file
    config.IPKernelApp.outstream_class = "__main__.LiveStream"
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
