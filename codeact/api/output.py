"""Answers as instances of a pydantic model, whose JSON Schema is sent with the question."""

import re
from typing import Any

from pydantic import BaseModel, ValidationError

from codeact import events as e
from codeact.errors import CodeActError

__all__ = ["Output", "parsed", "text_config"]

Output = type[BaseModel]
NAME_CHARS = 64


def text_config(output: Output | None) -> e.TextConfig:
    """Returns the request's `text` field for this class; plain text for None."""
    if output is None:
        return e.TextConfig()
    name = re.sub(r"[^A-Za-z0-9_-]", "_", output.__name__)[:NAME_CHARS]
    return e.TextConfig(format=e.JsonSchemaFormat(name=name, schema=output.model_json_schema()))


def parsed(output: Output | None, response: e.Response) -> Any:
    """Returns the answer as an instance of `output`; None for plain text, and for an answer that was cut off.

    Raises `CodeActError` (`invalid_output`) if the class rejects an answer that matches its schema.
    """
    if output is None or response.status != "completed":
        return None
    try:
        return output.model_validate_json(response.output_text)
    except ValidationError as error:
        raise CodeActError(f"The answer is no {output.__name__}: {error}", code="invalid_output") from error
