"""Changes the form of a request after a server refused it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from codeact.model import AnswerFormat, ChatMessage, Sampling
from codeact.models.shared.chat_messages import as_chat, as_chat_tool, images_apart

__all__ = ["AS_IT_IS", "Form", "without_system"]

_REFUSING = (
    r"not|n't|un(?:support|know|recogni|expect|permitt)\w*|invalid|extra|must|only|alternate|forbidden|permitted"
)
_NO_SYSTEM = re.compile(
    r"system.{0,60}(?:role|message|prompt|instruction)|role.{0,60}\bsystem\b|developer instruction"
    r"|roles must alternate|\bsystem\b.{0,40}(?:not|un)[ -]?support",
    re.IGNORECASE,
)
_OPTIONS = re.compile(r"stream_options|include_usage", re.IGNORECASE)
_MAX_TOKENS = re.compile(r"max_completion_tokens", re.IGNORECASE)
_FORMAT = re.compile(r"response_format|json_schema|json_object|text\.format|structured output", re.IGNORECASE)
_STOP = re.compile(r"['\"`]?\bstop(?:_sequences)?\b['\"`]?", re.IGNORECASE)
_REASONING = re.compile(r"reasoning(?:_content|_details)?['\"`\] ]|thinking_blocks|thinking block", re.IGNORECASE)
_IMAGES = re.compile(
    r"tool.{0,80}(?:image|content part|content type|must be a string|only.{0,20}text)|image.{0,80}\btool\b"
    r"|image_url.{0,60}(?:only|role)",
    re.IGNORECASE,
)
_IS_REFUSED = re.compile(_REFUSING, re.IGNORECASE)
_WORDS_CHARS = 2_000
MOST_STOPS = 4


@dataclass(frozen=True, slots=True)
class Form:
    """The form of requests that a server accepts. Optional fields that it has refused are left out.

    `tool_images`: results of calls may contain images; otherwise the images follow in a user message.
    """

    system_role: bool = True
    usage: bool = True
    max_tokens: str = "max_tokens"
    stop: bool = True
    reasoning: bool = True
    tool_images: bool = True
    answer_format: bool = True

    def after(self, words: str) -> "Form | None":
        """The next form to try, if this error text refuses the current form; None if it refuses something else."""
        words = words[:_WORDS_CHARS]
        if not _IS_REFUSED.search(words):
            return None
        if self.usage and _OPTIONS.search(words):
            return replace(self, usage=False)
        if self.max_tokens == "max_tokens" and _MAX_TOKENS.search(words):
            return replace(self, max_tokens="max_completion_tokens")
        if self.answer_format and _FORMAT.search(words):
            return replace(self, answer_format=False)
        if self.stop and _STOP.search(words):
            return replace(self, stop=False)
        if self.tool_images and _IMAGES.search(words):
            return replace(self, tool_images=False)
        if self.reasoning and _REASONING.search(words):
            return replace(self, reasoning=False)
        if self.system_role and _NO_SYSTEM.search(words):
            return replace(self, system_role=False)
        return None

    def messages(self, messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
        """The messages in this form. For some servers the system message becomes part of the user's."""
        if not self.tool_images:
            messages = images_apart(messages)
        if not self.reasoning:
            messages = [msgspec.structs.replace(message, reasoning={}) for message in messages]
        return [as_chat(message) for message in (messages if self.system_role else without_system(messages))]

    def request(self, messages: Sequence[ChatMessage], sampling: Sampling) -> dict[str, Any]:
        """The request fields that both adapters send; None: the server decides.

        One alternative is asked for where none is wanted: llama.cpp sends nothing for 0, and 20 without a number.
        """
        return {
            "messages": self.messages(messages),
            "stream": True,
            "stream_options": self.options(),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            self.max_tokens: sampling.max_output_tokens,
            "reasoning_effort": sampling.reasoning_effort,
            "stop": _stop(sampling.stop if self.stop else (), sampling.client_stop),
            "seed": sampling.seed,
            "top_k": sampling.top_k,
            "presence_penalty": sampling.presence_penalty,
            "frequency_penalty": sampling.frequency_penalty,
            "logit_bias": sampling.logit_bias,
            "logprobs": None if sampling.logprobs is None else True,
            "top_logprobs": None if sampling.logprobs is None else max(1, sampling.logprobs),
            "tools": [as_chat_tool(tool) for tool in sampling.tools] or None,
            "tool_choice": sampling.tool_choice if sampling.tools else None,
            "response_format": _response_format(sampling.answer_format) if self.answer_format else None,
        }

    def options(self) -> dict[str, Any] | None:
        return {"include_usage": True} if self.usage else None


AS_IT_IS = Form()


def _stop(ours: tuple[str, ...], client: tuple[str, ...]) -> list[str] | None:
    """All texts that end the reply. Servers accept only a few, so the client's come first."""
    return list(dict.fromkeys((*client, *ours)))[: max(MOST_STOPS, len(client))] or None


def _response_format(wanted: AnswerFormat | None) -> dict[str, Any] | None:
    if wanted is None or wanted.schema is None:
        return None if wanted is None else {"type": "json_object"}
    strict = {} if wanted.strict is None else {"strict": wanted.strict}
    return {"type": "json_schema", "json_schema": {"name": wanted.name, "schema": wanted.schema, **strict}}


def without_system(messages: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
    """For servers without a system role: moves the system text into the first user message."""
    if not messages or messages[0].role != "system":
        return messages
    system, *others = messages
    if not others or others[0].role != "user":
        return [ChatMessage("user", system.content), *others]
    return [ChatMessage("user", _joined(system.content, others[0].content)), *others[1:]]


def _joined(one: str | list[dict[str, Any]], other: str | list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    if isinstance(one, str) and isinstance(other, str):
        return f"{one}\n\n{other}"
    return [part for content in (one, other) for part in _listed(content)]


def _listed(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
