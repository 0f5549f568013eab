"""Both servers, to look at the embed: codeact with the demo model, and the page that embeds it. Ctrl-C ends them.

.venv/bin/python examples/embed/demo.py
"""

import os
import secrets
import subprocess
import sys
from pathlib import Path

import host

KEY = secrets.token_urlsafe(16)
SETTINGS = {"CODEACT_API_KEYS": KEY, "CODEACT_EMBED_ORIGINS": f"http://localhost:{host.PORT}"}
COMMAND = [str(Path(sys.executable).with_name("codeact")), "serve", "--port", "8000", "--model", "demo"]

server = subprocess.Popen(COMMAND, env=os.environ | SETTINGS)  # noqa: S603
try:
    host.main("http://localhost:8000", KEY)
finally:
    server.terminate()
    server.wait()
