"""A model server for jobs that costs nothing: `python model.py PORT` says on which node of Slurm it runs."""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Lists one model, and answers each chat with the node's name."""

    def do_GET(self) -> None:
        """Answers `/v1/models`."""
        self._send("application/json", json.dumps({"data": [{"id": "node"}]}).encode())

    def do_POST(self) -> None:
        """Answers `/v1/chat/completions` with a stream."""
        self.rfile.read(int(self.headers["content-length"]))
        text = f"The model runs on {os.environ['SLURMD_NODENAME']}."
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": "stop"}
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "node", "choices": [choice]}
        self._send("text/event-stream", f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode())

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""

    def _send(self, media_type: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", media_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
