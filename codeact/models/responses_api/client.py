"""A model at a server with the Responses API, called with our own HTTP client.

It uses `POST /responses` with SSE. Each request contains the whole conversation and asks the server not to store it.
Reasoning that the server encrypted is sent back at its place in the conversation.
"""

from collections.abc import Sequence

import msgspec

from codeact.model import ChatMessage, Sampling
from codeact.models.openai_compatible.answer import Answer
from codeact.models.openai_compatible.client import DirectModel
from codeact.models.responses_api import request
from codeact.models.responses_api.reading import ResponsesReading

__all__ = ["ResponsesModel"]


class ResponsesModel(DirectModel):
    """See `DirectModel`. The API has no `stop`: with the dialect tags, the stream is closed after a block and usage is
    estimated.
    """

    dialects = frozenset({"tags", "tool_call", "freeform"})
    parameters = frozenset({"logprobs", "top_logprobs"})
    takes_stop = False
    path = "/responses"
    _responses_form = request.AS_IT_IS

    def _adapt(self, words: str) -> bool:
        form = self._responses_form.after(words)
        self._responses_form = form or self._responses_form
        return form is not None

    def _body(self, messages: Sequence[ChatMessage], sampling: Sampling) -> bytes:
        body = {"model": self._model, **self._responses_form.request(messages, sampling)}
        return msgspec.json.encode({name: value for name, value in body.items() if value is not None})

    def _answer(self) -> Answer:
        return Answer(ResponsesReading())
