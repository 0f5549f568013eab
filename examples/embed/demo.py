"""Both servers, to look at the embed: codeact with the demo model, and the page that embeds it. Ctrl-C ends them.

.venv/bin/python examples/embed/demo.py
"""

import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PYTHON = Path(sys.executable)
KEY = secrets.token_urlsafe(16)

signal.signal(signal.SIGTERM, lambda *_: sys.exit())
settings = {"CODEACT_API_KEYS": KEY, "CODEACT_EMBED_ORIGINS": "http://localhost:9000"}
serve = [PYTHON.with_name("codeact"), "serve", "--port", "8000", "--model", "demo"]
server = subprocess.Popen(serve, env=os.environ | settings)  # noqa: S603
host = subprocess.Popen([PYTHON, HERE / "host.py"], env=os.environ | {"CODEACT_API_KEY": KEY})  # noqa: S603
try:
    server.wait()
except KeyboardInterrupt:
    pass
finally:
    for process in (host, server):
        process.terminate()
        process.wait()
