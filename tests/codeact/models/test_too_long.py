"""Which errors mean that a conversation is too long: by codes and types first, then by the messages
of known servers.
"""

from datetime import UTC, datetime

import pytest

from codeact.models.shared.errors import seconds
from codeact.models.shared.too_long import is_too_long

WORDINGS = [
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
    "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens.",
    "Your input exceeds the context window of this model. Please adjust your input and try again.",
    "prompt is too long: 210000 tokens > 200000 maximum",
    "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
    "The input token count (1100000) exceeds the maximum number of tokens allowed (1048576).",
    "the request exceeds the available context size. try increasing the context size or enable context shift",
    "request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it",
    "The decoder prompt (length 9000) is longer than the maximum model length of 8192.",
    "Input prompt (9000 tokens) is too long and exceeds limit of 8192",
    "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens and 512 `max_new_tokens`",
    "Input validation error: `inputs` must have less than 4095 tokens. Given: 5000",
    "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
    "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5000.",
    "Please reduce the length of the messages or completion.",
    "Input is too long for requested model.",
    "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length"
    " of only 4096 tokens",
    "The number of tokens to keep from the initial prompt is greater than the context length.",
    "This endpoint's maximum context length is 32768 tokens. However, you requested about 40000 tokens.",
    "Range of input length should be [1, 30720]",
    "Requested tokens (5000) exceed context window of 4096",
    "The prompt is too long: 5000, model maximum prompt length: 4096",
    "input length exceeds maximum context length",
    "Request body too large for gpt-4o model. Max size: 8000 tokens.",
    "Token limit exceeded: the request has 140000 tokens",
    "The total length of the messages and the output exceeds the model's context window.",
    "the prompt length (5000) is larger than the context size (4096)",
    "Input sequence length (5000) exceeds maximum allowed sequence length (4096)",
]


@pytest.mark.parametrize("words", WORDINGS)
def test_known_words_of_servers_say_too_long(words: str) -> None:
    assert is_too_long(words)
    assert is_too_long(words.upper())


@pytest.mark.parametrize(
    "words",
    [
        "odd parameter",
        "Rate limit reached: 30000 tokens per min. Limit: 30000, requested 40000.",
        "You exceeded your current quota, please check your plan and billing details.",
        "System role not supported",
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        "The model 'x' does not exist",
        "Invalid image: the file is too large",
    ],
)
def test_other_words_do_not(words: str) -> None:
    assert not is_too_long(words)


def test_codes_and_types_come_first() -> None:
    assert is_too_long("No.", ("invalid_request_error", "context_length_exceeded"))
    assert is_too_long("", ("exceed_context_size_error",))
    assert not is_too_long("No.", ("invalid_request_error",))


def test_retry_after_is_seconds_or_a_date() -> None:
    now = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
    assert seconds("7") == 7.0
    assert seconds("Thu, 01 Jan 2026 12:00:30 GMT", now=lambda: now) == 30.0
    assert seconds("Thu, 01 Jan 2026 11:00:00 GMT", now=lambda: now) == 0.0
    assert seconds("soon") is None
    assert seconds(None) is None
