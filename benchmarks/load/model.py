"""The model of the load benchmark: a server in a process of its own, which obeys the question.

`say N R` gets N tokens, R each second; each has the time at which it was sent (`at=1700000000.123456`). `run N` gets a
block of code that prints N lines, and after its output the answer `Done.`. `die` gets code that kills its kernel.
Run it as `python -m benchmarks.load.model`: it prints its port, and ends with its standard input.
"""

import asyncio
import json
import re
import sys
import time
from typing import Any

import uvloop

QUESTION = re.compile(r"\b(say \d+ \d+|run \d+|die)\b(?=\s*$)")
SAY = re.compile(r"say (\d+) (\d+)")
RUN = re.compile(r"run (\d+)")
RUN_CODE = "import time\nfor number in range({0}):\n    print('line', number)\n    time.sleep(0.02)\n"
DIE_CODE = "import os\nprint('dying', flush=True)\nos.kill(os.getpid(), 9)\n"


def _text_of(message: dict[str, Any]) -> str:
    """The text of a message of a chat."""
    content = message["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _chunk(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "load", "choices": [choice]}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


END = _chunk("", "stop") + b"data: [DONE]\n\n"
AHEAD, BEHIND = _chunk("@").split(b"@")


async def _say(writer: asyncio.StreamWriter, tokens: int, rate: int) -> None:
    """Writes the tokens by timers alone: a task that sleeps would cost more, and the server needs the processors."""
    loop, transport = asyncio.get_running_loop(), writer.transport
    began, done = loop.time(), loop.create_future()

    def write(number: int) -> None:
        if number == tokens or transport.is_closing():
            done.set_result(None)
            return
        if transport.get_write_buffer_size() < 100_000:
            transport.write(b"%b at=%.6f%b" % (AHEAD, time.time(), BEHIND))
            number += 1
        loop.call_at(began + number / rate, write, number)

    write(0)
    await done


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await reader.readexactly(int(lengths[0].split(b":")[1])) if lengths else b""
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: ")
        if b"/chat/completions " not in head.split(b"\r\n")[0]:
            writer.write(b"application/json\r\n\r\n" + json.dumps({"data": [{"id": "load"}]}).encode())
            return
        writer.write(b"text/event-stream\r\n\r\n")
        messages = json.loads(body)["messages"]
        said = [QUESTION.search(_text_of(each)) if each["role"] == "user" else None for each in messages]
        asked = [number for number, found in enumerate(said) if found is not None]
        question = (said[asked[-1]] or [""])[0]
        is_new = all(each["role"] != "assistant" for each in messages[asked[-1] :])
        if found := SAY.match(question):
            await _say(writer, int(found[1]), int(found[2]))
        elif not is_new:
            writer.write(_chunk("Done."))
        else:
            count = RUN.match(question)
            code = RUN_CODE.format(count[1]) if count else DIE_CODE
            writer.write(_chunk(f"I run it.\n<execute>\n{code}</execute>\n"))
        writer.write(END)
        await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def _main() -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(_main())
