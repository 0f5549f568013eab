"""Checks parameters that only some models accept: for other models they are refused or dropped."""

from dataclasses import replace
from typing import Any

from codeact.errors import InvalidRequest
from codeact.events import Notice
from codeact.model import Model
from codeact.runs.new_run import NewRun

__all__ = ["for_model"]

SENT_AS = {"logprobs": "include"}
"""Parameters that a request names in another way: `include` has `message.output_text.logprobs`."""
COUNTS = ("seed", "top_k")
"""Parameters of which 0 is a value like others."""
NAMES = ("stop", "seed", "top_k", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs")


def for_model(new_run: NewRun, model: Model, *, drop: bool) -> NewRun:
    """Returns the request with only those parameters that the model accepts, and a notice about dropped ones.

    Without `drop`, raises `InvalidRequest` instead, which names the parameter.
    """
    empty: dict[str, Any] = {name: getattr(NewRun(owner=""), name) for name in NAMES}
    given = [
        name for name in NAMES if getattr(new_run, name) or (name in COUNTS and getattr(new_run, name) is not None)
    ]
    refused = [name for name in given if name not in getattr(model, "parameters", ())]
    if not refused:
        return new_run
    listed = ", ".join(f"log probabilities ('{SENT_AS[name]}')" if name in SENT_AS else f"'{name}'" for name in refused)
    text = f"The model '{model.name}' does not take {listed} here"
    if not drop:
        raise InvalidRequest(
            f"{text}. Leave it out; CODEACT_DROP_PARAMS=true lets the server leave it out, with a notice.",
            param=SENT_AS.get(refused[0], refused[0]),
            code="unsupported_parameter",
        )
    left: Any = {name: empty[name] for name in refused}
    notice = Notice("parameter_dropped", f"{text}: the answer was made without.")
    return replace(new_run, **left, notices=[*new_run.notices, notice])
