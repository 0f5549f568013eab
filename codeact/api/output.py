"""Answers as a pydantic model: the model's JSON Schema goes out with the question, and its instance comes back."""

import re
from typing import Any

from pydantic import BaseModel, ValidationError

from codeact import events as e
from codeact.errors import CodeActError

__all__ = ["Output", "parsed", "text_config"]

Output = type[BaseModel]
NAME_CHARS = 64


def text_config(output: Output | None) -> e.TextConfig:
    """What a question asks of its answer; plain text for None."""
    if output is None:
        return e.TextConfig()
    name = re.sub(r"[^A-Za-z0-9_-]", "_", output.__name__)[:NAME_CHARS]
    return e.TextConfig(format=e.JsonSchemaFormat(name=name, schema=output.model_json_schema()))


def parsed(output: Output | None, response: e.Response) -> Any:
    """The instance; None for plain text, and for an answer that was cut off.

    Raises `CodeActError` (`invalid_output`) where the class itself refuses what fits its schema.
    """
    if output is None or response.status != "completed":
        return None
    try:
        return output.model_validate_json(response.output_text)
    except ValidationError as error:
        raise CodeActError(f"The answer is no {output.__name__}: {error}", code="invalid_output") from error
