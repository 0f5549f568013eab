"""Measures how much of its prompts a model's server finds in its prefix cache, per adapter and dialect.

A conversation has 20 turns, each with one block of code, its output, and an answer. The cache is simulated: it keeps
every prompt and finds the longest common beginning of a new one. A prompt is the JSON of its tools and messages, in
characters.

    ADAPTER_DIALECT_percent    the share of the characters of all 40 prompts that the cache had (of the first: none)
    socket_DIALECT_continued   requests (of 40) that sent only what was new, with `previous_response_id`
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from codeact import AsyncAgent, Pool
from codeact.models.litellm.client import LiteLLMModel
from codeact.models.litellm.client import close as close_litellm
from codeact.models.openai_compatible.client import DirectModel
from codeact.models.responses_api.client import ResponsesModel
from codeact.models.responses_api.socket_client import ResponsesSocketModel
from tests.model_server import CallPiece, ModelServer, Request, Step

__all__ = ["ADAPTERS", "PrefixCache", "measure", "prompt_of"]

TURNS = 20
CODE = (
    'rows = [(month, month * {turn}) for month in range(12)]\nfor row in rows:\n    print("sales of", *row, sep="; ")'
)
ADAPTERS: dict[str, Callable[[str], Any]] = {
    "direct": lambda base: DirectModel("bench", model="bench", api_base=base, retries=0),
    "litellm": lambda base: LiteLLMModel("deepseek/bench", api_base=base, api_key="bench", retries=0),
    "responses": lambda base: ResponsesModel("bench", model="bench", api_base=base, retries=0),
    "socket": lambda base: ResponsesSocketModel("bench", model="bench", api_base=base, retries=0),
}


class PrefixCache:
    """Counts the characters of prompts, and those that a cache of all earlier prompts would have had."""

    def __init__(self) -> None:
        self.total = self.cached = 0
        self._prompts: list[str] = []

    def read(self, prompt: str) -> None:
        """Counts a prompt and keeps it."""
        self.total += len(prompt)
        self.cached += max((_common(prompt, earlier) for earlier in self._prompts), default=0)
        self._prompts.append(prompt)

    @property
    def share(self) -> float:
        return self.cached / self.total


def _common(one: str, other: str) -> int:
    """The length of the longest common beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def prompt_of(body: dict[str, Any]) -> str:
    """Everything of a request that its model reads, in the order in which servers put it together."""
    messages = body.get("messages") or [body.get("instructions"), *body["input"]]
    return "\n".join(json.dumps(part) for part in (*body.get("tools", ()), *messages))


async def measure(sandbox: str) -> dict[str, float]:
    """Runs every conversation once, in about half a minute."""
    figures: dict[str, float] = {}
    async with Pool(sandbox=sandbox, min_size=1, max_size=2) as pool:
        for adapter, make in ADAPTERS.items():
            dialects = ("tags", "tool_call", "freeform")[: 3 if adapter in ("responses", "socket") else 2]
            for dialect in dialects:
                with ModelServer() as server:
                    requests = await _converse(make(server.base_url), dialect, server, pool)
                cache = PrefixCache()
                for request in requests:
                    cache.read(prompt_of(request.body))
                figures[f"{adapter}_{dialect}_percent"] = 100 * cache.share
                if adapter == "socket":
                    continued = sum(request.continues for request in requests)
                    figures[f"{adapter}_{dialect}_continued"] = float(continued)
    await close_litellm()
    return {name: round(value, 1) for name, value in figures.items()}


async def _converse(model: Any, dialect: str, server: ModelServer, pool: Pool) -> Sequence[Request]:
    async with AsyncAgent(model, dialect=dialect, pool=pool) as agent:
        for turn in range(TURNS):
            server.reply(*_acts(dialect, CODE.replace("{turn}", str(turn)), f"call_{turn}"))
            server.reply(f"The sales of turn {turn} are in the list above; the largest is that of the last month.")
            await agent.run(f"Make the list of sales, number {turn}, and tell me about it.")
    if isinstance(model, DirectModel):
        await model.close()
    return server.requests


def _acts(dialect: str, code: str, call_id: str) -> list[Step]:
    if dialect == "tags":
        return ["I make the list.", f"\n<execute>\n{code}\n</execute>"]
    arguments = json.dumps({"code": code}) if dialect == "tool_call" else code
    return ["I make the list.", CallPiece(arguments, "python", call_id)]
