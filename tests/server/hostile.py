"""Hostile values for every part of a request or a WebSocket frame, and a raw HTTP client that sends them unchanged."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_from_bytes

__all__ = [
    *("BODIES", "FRAMES", "HEADERS", "MESSAGE", "QUERIES", "RAW_BODIES", "RAW_FRAMES", "SEGMENTS", "VALUES"),
    *("Raw", "mutations"),
]

SEGMENTS = [
    *(b"a" * 300, b"a" * 5000, b"..", b"%2e%2e", b"%2e%2e%2f%2e%2e%2fetc%2fpasswd", b"%00", b"a%00b", b"%0d%0aX:%20y"),
    *(b"%ff%fe", b"\xc3\xa9", b"%c3%a9" * 100, b"%ed%a0%80", b"%F0%9F%92%A9", b"%", b"%zz", b"*", b"$ne", b"%7B%7D"),
    *(b"resp_", b"conv_" + b"0" * 44, b"0" * 64, b"f" * 64, b"%20", b"'%22<>", b"con", b"%5c%5c?%5c", b"1e999", b"-1"),
]
"""Segments of a path, which are already encoded, or encoded wrongly."""

TIMES = [
    *("0001-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "0001-01-01", "9999-12-31T23:59:59-14:00"),
    *("9999-12-31T23:59:59.999999", "9999-12-31", "1e999", "-1e999", "inf", "-inf", "nan", "253402300800", "1e12"),
    *(
        "-62135596800",
        "-62135596801",
        "1" * 400,
        "2026-01-01T00:00:00+23:59",
        "٣",
        "²",
        "0",
        "-0.0",
        "1.5e308",
        "1e-400",
    ),
]
QUERIES = [
    *(
        "",
        "\x00",
        "a\x00b",
        "%00",
        "null",
        "true",
        "{}",
        "[]",
        "$gt",
        "*",
        "." * 3,
        "a" * 10_000,
        "\ud800",
        "é",
        "💩" * 200,
    ),
    *(
        "-1",
        "0",
        "1",
        "100",
        "101",
        "9" * 20,
        "9" * 400,
        "0x10",
        "1_000",
        "1e3",
        "٣",
        "0000000000",
        "000000000000000000000000",
    ),
    *("conv_x", "a,b", "a:b", "eyJhIjoxfQ==", "'", '"', "\\", "\r\nX: y", "asc", "desc", "up", "ipynb", "json", "md"),
    *TIMES,
]

HEADERS: dict[bytes, list[bytes]] = {
    b"Accept": [b"", b"\xff", b"text/event-stream", b"*/*;q=" + b"9" * 500],
    b"Accept-Encoding": [b"gzip", b"\xff\xfe", b"gzip;q=nan"],
    b"Authorization": [
        b"Bearer",
        b"Bearer \xff\xfe",
        b"Bearer codeact_\xc3\xa9",
        b"Basic x",
        b"Bearer codeact_embed_\xff",
        b"\xff",
    ],
    b"Codeact-Owner": [b"\xff\xfe", b"", b"a" * 5000, b"\xc3\xa9", b"a/b/c", b"$ne"],
    b"Content-Length": [b"-1", b"x", b"99999999999999999999999"],
    b"Content-Type": [
        b"\xff",
        b"application/json; charset=utf-16",
        b"multipart/form-data",
        b"multipart/form-data; boundary=\xff",
    ],
    b"Cookie": [
        b"\xff\xfe",
        b"codeact_session=\xff",
        b"codeact_session=a; codeact_session=b",
        b";=;" * 100,
        b"codeact_session=\xc3\xa9",
    ],
    b"Host": [b"", b"[", b"[::1", b"\xff", b"localhost:99999", b"localhost:x", b"a@localhost", b"127.0.0.1:80:80"],
    b"If-Modified-Since": [b"\xff", b"Mon, 01 Jan 0001 00:00:00 GMT", b"Fri, 31 Dec 9999 23:59:59 GMT", b"x"],
    b"If-None-Match": [b"\xff", b'"' * 100],
    b"If-Range": [b"\xff", b"x", b"Fri, 31 Dec 9999 23:59:59 GMT"],
    b"Last-Event-ID": [b"\xff", b"-1", b"9" * 400],
    b"Origin": [b"null", b"http://[", b"\xff", b"http://" + b"a" * 5000, b"http://localhost:99999", b"http://a:b"],
    b"Range": [
        b"bytes=0-",
        b"bytes=-1",
        b"bytes=9-1",
        b"bytes=" + b"9" * 400 + b"-",
        b"bytes=0-0,0-0," * 50,
        b"\xff",
        b"x=1",
        b"bytes=-",
    ],
    b"X-Forwarded-For": [b"\xff", b"," * 500, b"::1%eth0"],
    b"X-Forwarded-Proto": [b"\xff", b"javascript"],
}

VALUES: list[Any] = [
    *(
        None,
        True,
        0,
        -1,
        2**31,
        2**53,
        2**63 - 1,
        2**63,
        2**64,
        10**40,
        1e308,
        -0.0,
        [],
        {},
        [[]],
        {"": ""},
        {"$ne": 1},
    ),
    *(
        "",
        " ",
        "\x00",
        "a\x00b",
        "a" * 300,
        "a" * 70_000,
        "é" * 500,
        "💩",
        "\u202e",
        "\r\n",
        "$where",
        "a.b",
        "../../etc",
    ),
    *(
        "data:",
        "data:image/png;base64,",
        "data:text/plain;base64,!!!!",
        "data:text/ü;base64,YQ==",
        "data:a\u2028b/c;base64,YQ==",
    ),
    *(
        "data:" + "a" * 5000 + "/b;base64,YQ==",
        "data:text/plain;charset=\u0161;base64,YQ==",
        "/v1/blobs/",
        "/v1/blobs/x",
    ),
    *("data:image/png;base64,iVBORw0KGgo=", "cfile_", "cfile_x", "resp_x", "conv_x", "0001-01-01", *TIMES),
]

RAW_BODIES = [
    *(
        b"",
        b" ",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b"1",
        b"\xff\xfe",
        b"\x00",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"nan",
        b"-",
    ),
    *(
        b'{"input": "\\ud800"}',
        b'{"input": "\\udc00\\ud800"}',
        b'{"input": "\xed\xa0\x80"}',
        b'{"\\ud800": 1}',
        b'{"a": 1e999}',
    ),
    *(
        b'{"input": "x", "input": "y"}',
        b'{"input": ' + b"9" * 5000 + b"}",
        b'{"metadata": {"\\u0000": "x"}}',
        b"\xef\xbb\xbf{}",
    ),
    *(
        b'{"metadata": {"$a.b": "\\ud800"}, "title": "\\ud800", "input": "\\ud800"}',
        b'{"api_key": "\\ud800", "name": "\\ud800", "model": "\\ud800"}',
    ),
]

MESSAGE = {
    "role": "user",
    "content": [
        {"type": "input_text", "text": "x"},
        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"},
        {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,YQ=="},
        {"type": "input_file", "file_id": "0" * 64, "filename": "b"},
    ],
}
BODIES: dict[str, Any] = {
    "POST /v1/responses": {
        "input": [
            MESSAGE,
            {"type": "function_call_output", "call_id": "c", "output": "1"},
            {"type": "shell_call_output", "call_id": "d", "output": [{"stdout": "x", "outcome": {"type": "timeout"}}]},
            {"type": "apply_patch_call", "operation": {"type": "delete_file", "path": "a"}},
        ],
        "model": "none such",
        "previous_response_id": "resp_x",
        "conversation": {"id": "conv_x"},
        "metadata": {"a": "b"},
        "tools": [
            {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}
        ],
        "max_output_tokens": 10,
        "temperature": 1.0,
    },
    "POST /v1/responses/input_tokens": {"input": [MESSAGE], "previous_response_id": "resp_x", "model": "none such"},
    "POST /v1/chat/completions": {
        "model": "none such",
        "messages": [{"role": "user", "content": "x"}],
        "temperature": 1.0,
    },
    "POST /v1/messages": {
        "model": "none such",
        "max_tokens": 10,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}],
        "system": "x",
        "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}}}],
        "container": "cntr_x",
    },
    "POST /v1/messages/count_tokens": {"model": "none such", "messages": [{"role": "user", "content": "x"}]},
    "POST /v1/skills/{skill_id}": {"default_version": "7"},
    "POST /v1/containers": {
        "name": "x",
        "expires_after": {"anchor": "last_active_at", "minutes": 99_999},
        "network_policy": {
            "type": "allowlist",
            "allowed_domains": ["a.test"],
            "domain_secrets": [{"domain": "a.test", "name": "A", "value": "x"}],
        },
        "skills": [{"type": "skill_reference", "skill_id": "skill_x"}],
    },
    "POST /v1/containers/{container_id}/files": {"file_id": "cfile_x"},
    "POST /v1/responses/{response_id}/feedback": {"rating": "up", "comment": "x"},
    "POST /v1/conversations": {"metadata": {"a": "b"}, "items": [MESSAGE]},
    "POST /v1/conversations/{conversation_id}": {"metadata": {"a": "b"}},
    "POST /v1/conversations/{conversation_id}/items": {"items": [MESSAGE]},
    "POST /v1/conversations/{conversation_id}/share": {"response_id": "resp_x"},
    "POST /v1/conversations/import": {
        "object": "codeact:archive",
        "version": 1,
        "conversation": {},
        "responses": [],
        "blobs": [],
    },
    "PATCH /v1/conversations/{conversation_id}": {"title": "x", "pinned": True, "tags": ["x"]},
    "POST /v1/session": {"api_key": "x"},
    "POST /v1/keys": {"name": "x", "days": 1},
    "PATCH /v1/people/{owner}": {"role": "operator", "disabled": True},
    "POST /v1/embed/sessions": {
        "origin": "https://shop.example",
        "user": "u",
        "expires_in_s": 60,
        "limits": {"tokens_per_day": 1},
    },
}
"""Valid bodies by route. None of them starts a run."""

FRAMES: dict[str, dict[str, Any]] = {
    "response.create": BODIES["POST /v1/responses"],
    "response.create nested": {"response": BODIES["POST /v1/responses"]},
    "response.cancel": {"response_id": "resp_x"},
    "response.steer": {"previous_response_id": "resp_x", "input": [MESSAGE]},
    "codeact:response.resume": {"response_id": "resp_x", "starting_after": 3},
    "codeact:session.refresh": {"token": "codeact_embed_x"},
}
"""The fields of clients' events, without their type. None of them starts a run."""

RAW_FRAMES = [
    *(body for body in RAW_BODIES if body),
    *(b'{"type": "%s", "input": ' % kind + b"[" * 100_000 for kind in (b"response.create", b"response.steer")),
    b'{"type": "response.create", "input": ' + b"[" * 90 + b"]" * 90 + b"}",
    b'{"type": "response.create", "input": "\\ud800"}',
    b'{"type": "response.create", "type": "response.cancel"}',
    b'{"type": "response.cancel", "response_id": ' + b"9" * 5000 + b"}",
    b'{"type": "response.steer", "previous_response_id": 1' + b"0" * 300 + b', "input": 1e308}',
    b'{"type": "codeact:response.resume", "response_id": "resp_x", "starting_after": -1e999}',
    b'{"type": "response.create", "input": "' + b"a" * 400_000 + b'"}',
]


def mutations(body: Any) -> Iterator[Any]:
    """Yields copies of the body in which one value is replaced by a hostile one, or a hostile key is added."""
    if isinstance(body, dict):
        for key, value in body.items():
            for changed in mutations(value):
                yield body | {key: changed}
        for key in ("", "\x00", "$a", "a.b", "a" * 5000, "é", "__proto__"):
            yield body | {key: 1}
    elif isinstance(body, list):
        for index, value in enumerate(body):
            for changed in mutations(value):
                yield [*body[:index], changed, *body[index + 1 :]]
        yield body * 1000
    yield from VALUES


@dataclass
class Raw:
    """A connection to the server, which is opened again after the server has closed it."""

    port: int
    headers: dict[bytes, bytes] = field(default_factory=dict)
    connection: socket.socket | None = None

    def status(
        self, method: str, target: bytes, headers: dict[bytes, bytes] | None = None, body: bytes | None = None
    ) -> int:
        """Sends a request. Returns the status of the answer, or 0 if the server closed the connection without one."""
        given = {b"Host": b"localhost:%d" % self.port} | self.headers | (headers or {})
        if body is not None:
            given = {b"Content-Length": b"%d" % len(body), b"Content-Type": b"application/json"} | given
        head = b"".join(b"%s: %s\r\n" % pair for pair in given.items())
        sent = b"%s %s HTTP/1.1\r\n%s\r\n" % (method.encode(), target, head) + (body or b"")
        for attempt in range(2):
            if self.connection is None:
                self.connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
            try:
                self.connection.sendall(sent)
                answer = self._answer(method)
            except ConnectionError:
                answer = 0
            if answer or attempt:
                return answer
            self.close()
        return 0

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def _answer(self, method: str) -> int:
        assert self.connection is not None
        file = self.connection.makefile("rb")
        line = file.readline()
        if not line:
            self.close()
            return 0
        length, chunked, closes = 0, False, False
        while (header := file.readline()) not in (b"\r\n", b""):
            name, _, value = header.lower().partition(b":")
            length = int(value) if name == b"content-length" else length
            chunked |= name == b"transfer-encoding"
            closes |= name == b"connection" and value.strip() == b"close"
        status = int(line.split()[1])
        if chunked:
            while size := int(file.readline(), 16):
                file.read(size + 2)
            file.readline()
        elif method != "HEAD" and status != 304:
            file.read(length)
        if closes:
            self.close()
        return status


def encoded(value: str) -> bytes:
    """Encodes a value for a query. It may contain any characters."""
    return quote_from_bytes(value.encode(errors="surrogatepass"), safe="").encode()


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()
