"""Inputs that could stop a server or use up its memory, by name. None of them harms the machine.

`CODE` runs in a sandbox. `QUESTIONS`, `BODIES`, `MESSAGES` and `ARCHIVES` are sent over HTTP, `FRAMES` over one socket.
The answers of `RECORDS` are imported, and then verified.
"""

import base64
import hashlib
import json
from typing import Any

__all__ = ["ARCHIVES", "BODIES", "CODE", "FRAMES", "MESSAGES", "QUESTIONS", "RECORDS"]

FORGE = """
import json, time
kernel = get_ipython().kernel
session, iopub = kernel.session, kernel.iopub_socket
mine = {"msg_id": kernel.get_parent("shell")["header"]["msg_id"]}
def send(kind, content, parent=mine, key=True):
    parts = [json.dumps({"msg_type": kind}).encode(), json.dumps(parent).encode(), b"{}", content]
    iopub.send_multipart([b"<IDS|MSG>", session.sign(parts) if key else b"0" * 64, *parts])
def for_seconds(seconds, *given, **named):
    ends_at = time.time() + seconds
    while time.time() < ends_at:
        send(*given, **named)
lists = b"[]," * 3_200_000 + b"0"
"""
RICH = "from IPython.display import HTML, JSON, Markdown, clear_output, display, update_display\n"

CODE: dict[str, str] = {
    "returns_before_a_line": "print('\\r' * 60_000 + 'x' * 60_000)",
    "returns_before_a_long_line": "print('\\r' * 4_000_000 + 'x' * 4_000_000)",
    "returns_between_letters": "print('x\\r' * 2_000_000)",
    "lines_of_returns": "print('ab\\rc\\n' * 1_000_000)",
    "erased_lines": "print('x\\x1b[1K' * 500_000)",
    "colours": "print('\\x1b[31ma\\x1b[32mb' * 300_000)",
    "sequences_without_end": "print('\\x1b[0' * 1_000_000 + '\\x1b]' * 500_000)",
    "new_lines": "print('\\n' * 5_000_000)",
    "marks_in_an_error": "raise ValueError('a' + '\\u0301\\u0316' * 25_000)",
    "marks_in_output": "print('a' + '\\u0301\\u0316' * 500_000)",
    "error_of_many_lines": "raise ValueError('x\\n' * 500_000)",
    "name_of_an_error": "raise type('E' * 100_000, (Exception,), {})('x' * 1_000_000)",
    "scripts": RICH + "for _ in range(900): display(HTML('<script>' * 1250))",
    "tags": RICH + "for _ in range(200): display(HTML('<a ' * 13_000))",
    "entities": RICH + "for _ in range(200): display(HTML('&#' + '9' * 9_000 + ';'))",
    "small_displays": RICH + "for n in range(20_000): display({'text/plain': 'x'}, raw=True)",
    "updates_of_one_display": RICH
    + "for n in range(5_000): display(HTML('x'), display_id='a')\n"
    + "for n in range(5_000): update_display(1, display_id='a')",
    "clears": RICH + "for n in range(20_000): clear_output()",
    "streams_in_turns": "import sys\n"
    "for n in range(50_000): print('o', flush=True); print('e', file=sys.stderr, flush=True)",
    "json_of_lists": RICH + "display(JSON([[] for _ in range(2_000_000)]))",
    "json_of_numbers": RICH + "display(JSON(list(range(1_200_000))))",
    "deep_json": RICH + "value = []\nfor _ in range(500): value = [value]\ndisplay(JSON({'a': value}))",
    "metadata_of_lists": RICH
    + "for _ in range(100): display({'text/plain': 'x'}, metadata={'a': [[] for _ in range(20_000)]}, raw=True)",
    "surrogates": "print('\\ud800' * 1_000_000)",
    "endless_output": "import time\nends_at = time.time() + 4\nwhile time.time() < ends_at: print('x' * 200)",
    "code_of_fences": "'''" + "\n```" * 20_000 + "'''\n0",
    "code_of_tags": "#" + "`<execute>` " * 10_000,
    "forged_lists": FORGE
    + "for _ in range(20): send('display_data', b'{\"metadata\":{},\"data\":{\"application/json\":[' + lists + b']}}')",
    "forged_lists_after_the_run": FORGE
    + 'import threading\ncontent = b\'{"metadata":{},"data":{"application/json":[\' + lists + b\']}}\'\n'
    "threading.Thread(target=lambda: (time.sleep(0.5), for_seconds(4, 'display_data', content)), daemon=True).start()",
    "forged_errors_of_lists": FORGE
    + 'for _ in range(20): send(\'error\', b\'{"ename":"E","evalue":"","traceback":[\' + lists + b\']}\')',
    "forged_streams_of_lists": FORGE
    + 'for _ in range(20): send(\'stream\', b\'{"name":"stdout","text":"","more":[\' + lists + b\']}\')',
    "forged_escapes": FORGE
    + 'for _ in range(5): send(\'stream\', b\'{"name":"stdout","text":"\\\\ud800\' + b"\\\\n" * 4_500_000 + b\'"}\')',
    "forged_types": FORGE
    + "types = b','.join(b'\"a/%d\":\"\"' % number for number in range(500_000))\n"
    + "for _ in range(5): send('display_data', b'{\"data\":{' + types + b'}}')",
    "wrongly_signed": FORGE + "for_seconds(4, 'stream', lists, key=False)",
    "forged_calls": FORGE + 'for_seconds(4, \'codeact_call\', b\'{"call_id":"a","name":"b","arguments":"{}"}\')',
    "forged_states": FORGE + "for_seconds(4, 'status', b'{\"execution_state\":\"busy\"}')",
    "forged_calls_unread": FORGE + "import threading, asyncio\n"
    "kernel.control_thread.io_loop.add_callback(lambda: time.sleep(8))\n"
    'for_seconds(6, \'codeact_call\', b\'{"call_id":"a","name":"\' + b\'b\' * 100 + b\'","arguments":"{}"}\')',
    "parts_without_number": FORGE + "for _ in range(50): iopub.send_multipart([b''] * 50_000)",
    "many_variables": "for n in range(20_000): globals()[f'v{n}'] = [n]",
    "many_files": "import pathlib\nfor n in range(9_000): pathlib.Path(f'f{n}.txt').write_text('x')",
    "long_names_that_cannot_be_saved": "import threading\n"
    "for n in range(40): globals()['<script>' * 400 + str(n)] = threading.Lock()\n#" + "<script>" * 12_000,
    "climbing_lines": "print('x\\n\\x1b[A' * 400_000)",
    "markdown_of_brackets": RICH + "for _ in range(50): display(Markdown('![[' * 60_000))",
    "types_of_long_names": RICH
    + "for n in range(50): display({'a/' + 'b' * 100_000: 'x', 'text/plain': 'x'}, raw=True)",
    "forged_progress": FORGE + "for _ in range(20): send('codeact_progress', b'{\"ran\":1,\"got\":[' + lists + b']}')",
    "forged_inventory_of_lists": FORGE
    + "for _ in range(20): send('codeact_inventory', b'{\"variables\":[' + lists + b']}')",
    "forged_pictures": FORGE
    + 'picture = b\'{"metadata":{},"data":{"image/png":"\' + b\'A\' * 9_000_000 + b\'"}}\'\n'
    + "for _ in range(5): send('display_data', picture)",
}
"""Python for a sandbox."""

QUESTIONS: dict[str, str] = {
    "question_of_marks": "a" + "\u0301\u0316" * 25_000,
    "question_of_hidden_marks": "\u0f73" * 200_000,
    "question_of_new_lines": "x" + "\n" * 2_000_000,
    "question_of_words": " ".join(f"w{number}" for number in range(200_000)),
    "question_of_backticks": "\n" + "`" * 500_000 + " x`",
    "question_of_tags": "<execute>\n" * 200_000,
    "question_of_addresses": "http://a@" * 200_000,
    "question_of_directions": "\u202e\u2066" * 300_000,
}

LISTS = "[]," * 2_500_000


def _tools() -> str:
    kinds: dict[str, Any] = {"type": ["array"] * 30}
    for _ in range(3):
        kinds = {"type": ["array"] * 30, "items": kinds}
    properties = {f"a{number}": kinds for number in range(100)}
    tools = [{"type": "function", "name": f"f{n}", "parameters": {"properties": properties}} for n in range(20)]
    return json.dumps({"input": "say: x", "tools": tools})


BODIES: dict[str, str] = {
    "body_of_lists": f'{{"input":[{LISTS}0]}}',
    "body_of_unknown_lists": f'{{"input":"x","what":[{LISTS}0]}}',
    "body_of_names": f'{{"metadata":{{{chr(34) * 2}:0' + ',"":0' * 1_200_000 + '},"input":"x"}',
    "body_of_messages": '{"input":[' + '{"role":"user","content":"x"},' * 200_000 + "0]}",
    "deep_body": '{"input":' + "[" * 3_000_000 + "]" * 3_000_000 + "}",
    "body_of_types_in_types": _tools(),
    "body_of_marked_names": json.dumps(
        {
            "input": "say: x",
            "tools": [
                {"type": "function", "name": "f", "parameters": {"properties": {"\u0301\u0316" * 100_000: {}}}},
            ],
        }
    ),
    "body_without_an_end": '{"input":"' + "x" * 7_000_000,
}

MESSAGES: dict[str, str] = {
    "messages_of_lists": f'{{"model":"m","max_tokens":9,"messages":[{LISTS}0]}}',
    "messages_of_blocks": '{"model":"m","max_tokens":9,"messages":[{"role":"user","content":['
    + '{"type":"text","text":"x"},' * 18_000
    + '{"type":"text","text":"x"}]}]}',
    "messages_of_values": '{"model":"m","max_tokens":9,"messages":[{"role":"user","content":['
    + ",".join(
        f'{{"type":"tool_use","id":"t{n}","name":"f","input":{{}}}},{{"type":"tool_result","tool_use_id":"t{n}"}}'
        for n in range(4_500)
    )
    + "]}]}",
    "messages_of_deep_input": '{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"tool_use",'
    '"id":"t","name":"f","input":{"a":' + "[" * 1_000_000 + "]" * 1_000_000 + "}}]}]}",
    "messages_of_code": json.dumps(
        {
            "model": "m",
            "max_tokens": 9,
            "messages": [
                {"role": "user", "content": "x"},
                {
                    "role": "assistant",
                    "content": [
                        {
                            "type": "server_tool_use",
                            "id": "s",
                            "name": "code_execution",
                            "input": {"code": "x" * 6_000_000},
                        }
                    ],
                },
                {"role": "user", "content": "x"},
            ],
        }
    ),
}

HEAD = '{"object":"codeact:conversation","version":1,"conversation":{"created_at":0},'
ZEROS = hashlib.sha256(bytes(30_000_000)).hexdigest()
ARCHIVES: dict[str, str] = {
    "archive_of_lists": f'{HEAD}"responses":[{"[]," * 6_600_000}0]}}',
    "archive_of_blobs": f'{HEAD}"responses":[],"blobs":[{"{}," * 6_600_000}0]}}',
    "archive_of_unknown_lists": f'{HEAD}"what":[{"[]," * 6_600_000}0],"responses":[]}}',
    "deep_archive": f'{HEAD}"responses":' + "[" * 10_000_000 + "]" * 10_000_000 + "}",
    "archive_without_an_end": f'{HEAD}"responses":["' + "x" * 20_000_000,
    "archive_of_a_large_blob": f'{HEAD}"responses":[],"blobs":[{{"sha256":"{ZEROS}","media_type":"a/b",'
    f'"data":"{"A" * 40_000_000}"}}]}}',
    "archive_of_codes": f'{HEAD}"responses":[{{"response":{{"id":"resp_1","created_at":0,"model":"m","output":['
    + ",".join(
        f'{{"type":"code_interpreter_call","id":"ci_{n}","container_id":"cntr_{n}","code":"x","outputs":null}}'
        for n in range(10_000)
    )
    + ']},"input":[]}]}',
}


def _record(outputs: str, *, blob: bytes = b"", times: int = 1) -> str:
    """An archive of one answer whose code ran in as many sandboxes."""
    result = '{"status":"ok","duration_s":0.1}'
    codes = ",".join(
        f'{{"type":"code_interpreter_call","id":"ci_{n}","container_id":"cntr_{n}","code":"1","outputs":null,'
        f'"status":"completed","codeact:result":{result},"codeact:notebook_outputs":{outputs}}}'
        for n in range(times)
    )
    sha256 = hashlib.sha256(blob).hexdigest()
    stored = f'{{"sha256":"{sha256}","media_type":"application/json","data":"{base64.b64encode(blob).decode()}"}}'
    response = f'{{"id":"resp_1","created_at":0,"model":"m","status":"completed","output":[{codes}]}}'
    return (
        f'{HEAD[:-2]},"last_response_id":"resp_1"}},"responses":[{{"response":{response},"input":[]}}],'
        f'"blobs":[{stored if blob else ""}]}}'
    )


LEFT_OUT = b'[{"output_type":"display_data","data":{},"metadata":{"a":[' + b"[]," * 6_000_000 + b"0]}}]"
RECORDS: dict[str, str] = {
    "record_of_sandboxes": _record("[]", times=2_000),
    "record_of_outputs_left_out": _record(
        '[{"output_type":"stream","name":"stdout","text":"[1 of 2 outputs are left out here; all of them: blob:'
        + hashlib.sha256(LEFT_OUT).hexdigest()
        + ']\\n"}]',
        blob=LEFT_OUT,
    ),
}

FRAMES: dict[str, list[str]] = {
    "resumes": ['{"type":"codeact:response.resume","response_id":"RESPONSE"}'] * 300,
    "many_resumes": ['{"type":"codeact:response.resume","response_id":"RESPONSE"}'] * 3_000,
    "creates_without_a_stream": ['{"type":"response.create","input":"say: x"}'] * 300,
    "creates_of_many_streams": [
        f'{{"type":"response.create","input":"say: x","stream_id":"s{number}"}}' for number in range(300)
    ],
    "frames_of_lists": [f'{{"type":"response.create","input":[{LISTS}0]}}'] * 5,
    "frames_that_say_nothing": ["[]"] * 1_000,
    "warm_ups": ['{"type":"response.create","input":"x","generate":false}'] * 300,
    "cancels": ['{"type":"response.cancel","response_id":"RESPONSE"}'] * 3_000,
    "steers": ['{"type":"response.steer","previous_response_id":"RESPONSE","input":"x"}'] * 1_000,
}
