"""LangChain's own standard tests of chat models, over both APIs: pytest langchain_standard.py, with BASE_URL set.

Tests that offer tools or schemas are switched off, as LangChain provides for: they need a model that answers by itself,
and the test's model only says what the script says. The other tests of this environment call tools.
"""

import os
from typing import Any

from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests


class Standard(ChatModelIntegrationTests):
    responses = True
    has_tool_calling = False
    has_structured_output = False
    supports_json_mode = False
    supports_image_inputs = False

    @property
    def chat_model_class(self) -> type[ChatOpenAI]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": "codeact",
            "base_url": os.environ["BASE_URL"],
            "api_key": "none",
            "use_responses_api": self.responses,
            "stream_usage": True,
        }


class TestResponses(Standard):
    pass


class TestCompletions(Standard):
    responses = False


del ChatModelIntegrationTests, Standard
