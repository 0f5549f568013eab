"""The schemas of agent-sandbox's objects, for tests without a cluster; a cluster gets them as custom resources."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import yaml

__all__ = ["CRDS", "faults"]

CRDS: list[dict[str, Any]] = list(yaml.safe_load_all(Path(__file__).with_name("agent_sandbox_crds.yaml").read_text()))
SCHEMAS = {crd["spec"]["names"]["kind"]: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for crd in CRDS}


def faults(described: dict[str, Any]) -> list[str]:
    """Returns what is wrong with an object: values that its schema refuses, and fields that it does not have."""
    schema = SCHEMAS[described["kind"]]
    checked = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    wrong = [f"{error.json_path}: {error.message}" for error in checked.iter_errors(described)]
    return [*wrong, *_unknown(described, schema, "$")]


def _unknown(value: Any, schema: dict[str, Any], path: str) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _unknown(each, schema.get("items", {}), f"{path}[]")
    if not isinstance(value, dict) or path == "$.metadata" or schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    for name, each in value.items():
        inner = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
        if inner is None:
            yield f"{path}.{name}: there is no such field"
        else:
            yield from _unknown(each, inner, f"{path}.{name}")
