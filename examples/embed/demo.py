"""Both servers, to look at the embed: codeact with the demo model, and the page that embeds it. Ctrl-C ends them.

.venv/bin/python examples/embed/demo.py
"""

import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
PYTHON = Path(sys.executable)
KEY = secrets.token_urlsafe(16)
PORT = os.environ.get("CODEACT_PORT", "8000")
HOST_PORT = os.environ.get("HOST_PORT", "9000")


def answers() -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/healthz", timeout=5):
            return True
    except OSError:
        return False


signal.signal(signal.SIGTERM, lambda *_: sys.exit())
settings = {"CODEACT_API_KEYS": KEY, "CODEACT_EMBED_ORIGINS": f"http://localhost:{HOST_PORT}"}
serve = [PYTHON.with_name("codeact"), "serve", "--port", PORT, "--model", "demo"]
processes = [subprocess.Popen(serve, env=os.environ | settings)]  # noqa: S603
try:
    # The page loads its launcher from the server, so the server comes first.
    while processes[0].poll() is None and not answers():
        time.sleep(0.2)
    host = {"CODEACT_API_KEY": KEY, "CODEACT_URL": f"http://localhost:{PORT}", "HOST_PORT": HOST_PORT}
    processes.append(subprocess.Popen([PYTHON, HERE / "host.py"], env=os.environ | host))  # noqa: S603
    print(f"\nThe server's own page, http://localhost:{PORT}, asks for a key: {KEY}", flush=True)
    processes[0].wait()
except KeyboardInterrupt:
    pass
finally:
    for process in reversed(processes):
        process.terminate()
        process.wait()
