"""Measures how smoothly the chat page shows long answers, in a real Chromium.

    python -m benchmarks.page          prints it as JSON

It uses a real `codeact serve` in a separate process, a model server in this one that sends 200 tokens per second, and a
real kernel. Frame times are those between `requestAnimationFrame` calls of the page while the answer arrives.

    tokens_frame_p50_ms, _p99   while 200 tokens a second of Markdown, code and mathematics stream, for 20 s
    source_frame_p50_ms, _p99   while 200 tokens a second of one block of code stream, for 10 s
    lines_frame_p50_ms, _p99    while code prints 5,000 lines in about two seconds
    tokens_busy_percent, …      how much of that time the page's main thread worked, of all three
    tokens_growth, source_growth  its work in the last quarter of the time, over that in the first
    frames, late_frames         of all three: all, and those that took longer than 34 ms, two at 60 Hz
    open_500_ms                 a click on a conversation of 500 turns until its last answer is drawn
    page_kb                     what the first load transfers, compressed
"""

import asyncio
import itertools
import json
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
from playwright.async_api import Page, async_playwright

from benchmarks.served import codeact_server, model_server, until_ok

__all__ = ["measure"]

CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
TURNS = 500
TOKENS, SOURCE_TOKENS = 4_000, 2_000
TOKENS_PER_S = 200
LINES = 5_000

PARAGRAPH = (
    "Here is a **paragraph** with `code`, a [link](https://example.org) and some more words to fill its lines.\n\n"
)
LIST = "- one thing\n- another thing\n- and `a third`\n\n"
FENCE = "```json\n{\n" + "".join(f'  "key {n}": [{n}, "text", true],\n' for n in range(12)) + "}\n```\n\n"
MATH = "The sum $\\sum_{k=1}^n k = \\frac{n(n+1)}{2}$ and the area\n\n$$\\int_0^1 x^2\\,dx = \\frac{1}{3}$$\n\n"
FUNCTION = """def step_{n}(values, *, scale=1.5):
    \"\"\"Scales the values.\"\"\"
    return [scale * value + {n} for value in values if value is not None]


"""
PACED = f"""import time
for i in range({LINES}):
    print(f'line {{i}}: some text of a usual length, \x1b[32mok\x1b[0m')
    if i % 50 == 0:
        time.sleep(0.02)
"""

WATCH = """() => {
    window.frames_ms = [];
    let last = performance.now();
    const next = (now) => {
        window.frames_ms.push(now - last);
        last = now;
        window.watching = requestAnimationFrame(next);
    };
    requestAnimationFrame(next);
}"""
STOP = "() => { cancelAnimationFrame(window.watching); return window.frames_ms.slice(2); }"


def _words(question: str, answered: bool) -> list[str]:
    if question.startswith("tokens"):
        # Each part is numbered: the server ends an answer that repeats itself.
        return _tokens("".join(f"## Part {n}\n\n{PARAGRAPH}{LIST}{FENCE}{MATH}" for n in range(200)), TOKENS)
    if question.startswith("source") and not answered:
        return _tokens("<execute>\n" + "".join(FUNCTION.format(n=n) for n in range(200)), SOURCE_TOKENS)
    if question.startswith("lines") and not answered:
        return [f"<execute>\n{PACED}</execute>"]
    if question.startswith("code") and not answered:
        return ["I compute it.\n<execute>\nfor i in range(20): print(i, i * i)\n</execute>"]
    return [PARAGRAPH + LIST]


def _tokens(text: str, count: int) -> list[str]:
    return [text[at : at + 4] for at in range(0, 4 * count, 4)]


async def _say(messages: Sequence[dict[str, Any]]) -> AsyncIterator[str]:
    asked = [str(message["content"]) for message in messages if message["role"] == "user"]
    answered = "Observation" in asked[-1]
    question = asked[-2] if answered and len(asked) > 1 else asked[-1]
    started = time.perf_counter()
    for index, word in enumerate(_words(question, answered)):
        await asyncio.sleep(max(0.0, started + index / TOKENS_PER_S - time.perf_counter()))
        yield word


async def measure() -> dict[str, float]:
    """Runs everything once, in about two minutes."""
    async with model_server(_say) as api_base, codeact_server("process", api_base) as (url, _, started):
        await until_ok(url + "/readyz", started)
        conversation_id = await _long_conversation(url)
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = await browser.new_page(viewport={"width": 1240, "height": 860})
            figures: dict[str, float] = {"page_kb": await _first_load(page, url)}
            seen: list[float] = []
            for name, lasts_s in (
                ("tokens", TOKENS / TOKENS_PER_S),
                ("source", SOURCE_TOKENS / TOKENS_PER_S),
                ("lines", 2),
            ):
                frames, work_s = await _frames(page, name, lasts_s)
                figures[f"{name}_frame_p50_ms"] = statistics.median(frames)
                figures[f"{name}_frame_p99_ms"] = statistics.quantiles(frames, n=100)[98]
                figures[f"{name}_busy_percent"] = 100 * sum(work_s) / lasts_s
                if name != "lines":
                    figures[f"{name}_growth"] = work_s[-1] / work_s[0]
                seen += frames
            figures["frames"] = len(seen)
            figures["late_frames"] = sum(frame > 34 for frame in seen)
            figures["open_500_ms"] = await _open(page, url, conversation_id)
            await browser.close()
    return {name: round(value, 1) for name, value in figures.items()}


async def _long_conversation(url: str) -> str:
    """A conversation of 500 turns, a fifth of them with code."""
    previous: dict[str, Any] = {}
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
        for turn in range(TURNS):
            body = {"input": f"{'code' if turn % 5 == 0 else 'words'} {turn}", "truncation": "auto"}
            after = {"previous_response_id": previous["id"]} if previous else {}
            previous = (await client.post("/v1/responses", json=body | after)).raise_for_status().json()
    return str(previous["conversation"]["id"])


async def _first_load(page: Page, url: str) -> float:
    await page.goto(url, wait_until="networkidle")
    sizes = await page.evaluate(
        "performance.getEntries().filter(one => one.encodedBodySize && !one.name.includes('/v1/'))"
        ".map(one => one.encodedBodySize)"
    )
    return float(sum(sizes)) / 1000


async def _frames(page: Page, question: str, lasts_s: float) -> tuple[list[float], list[float]]:
    """The times between frames in ms, and how long the main thread worked in each quarter of the run, in s."""
    tools = await page.context.new_cdp_session(page)
    await tools.send("Performance.enable")

    async def worked_s() -> float:
        metrics = (await tools.send("Performance.getMetrics"))["metrics"]
        return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))

    await page.get_by_label("Your question").fill(question)
    await page.wait_for_function("!document.querySelector('.send').disabled")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(".answer[aria-busy=true] :is(.prose, .cell)")
    await page.evaluate(WATCH)
    marks = [await worked_s()]
    for _ in range(4):
        await asyncio.sleep(lasts_s / 4 - 0.02)
        marks.append(await worked_s())
    await page.wait_for_selector(".answer[aria-busy=true]", state="detached", timeout=120_000)
    frames = [float(frame) for frame in await page.evaluate(STOP)]
    return frames, [after - before for before, after in itertools.pairwise(marks)]


async def _open(page: Page, url: str, conversation_id: str) -> float:
    """The median of three, each in a newly loaded page."""
    times = []
    for _ in range(3):
        await page.goto(url, wait_until="networkidle")
        link = page.locator(f"a[href='/c/{conversation_id}']")
        await link.wait_for()
        times.append(
            await page.evaluate(
                """id => new Promise((done) => {
                    const started = performance.now();
                    document.querySelector(`a[href='/c/${id}']`).click();
                    const look = () => document.querySelector('.turn[data-last] .answer-tools')
                        ? requestAnimationFrame(() => done(performance.now() - started))
                        : requestAnimationFrame(look);
                    look();
                })""",
                conversation_id,
            )
        )
    return float(statistics.median(times))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure())))
