"""Renders a chart and checks each object against Kubernetes' published schemas. Runs in the environment .venv-helm.

python render.py < QUESTION     JSON: the chart, versions of Kubernetes, values by the name of a case
"""

import json
import sys

import kubernetes_validate
import yaml
from helm_python import chart

WORTH_KNOWING = 1
# crds/validate.mjs and tests/agent_sandbox_schemas.py know their schemas.
EXTENSIONS = ("gateway.networking.k8s.io/v1", "monitoring.coreos.com/v1", "extensions.agents.x-k8s.io/v1beta1")
path, versions, cases = json.load(sys.stdin)
loaded = chart.Chart.load(path)
answer = {}
for name, values in cases.items():
    try:
        loaded.validate_schema(values)
        report = chart.lint(path, values, strict=True)
        files = loaded.render(values, name="codeact", namespace="agents")
    except Exception as error:
        answer[name] = {"error": str(error)}
        continue
    complaints = [each for each in report["messages"] if each["severity"] > WORTH_KNOWING] + report["errors"]
    found = {"lint": complaints, "objects": [], "wrong": []}
    for file, text in files.items():
        if file.endswith(".txt"):
            found["notes"] = text
            continue
        for described in filter(None, yaml.safe_load_all(text)):
            found["objects"].append(described)
            for version in versions:
                try:
                    kubernetes_validate.validate(described, version, strict=True)
                except kubernetes_validate.SchemaNotFoundError:
                    if described["apiVersion"] in EXTENSIONS:
                        continue
                    found["wrong"].append(f"{file}: {version} has no {described['apiVersion']} {described['kind']}")
                except kubernetes_validate.ValidationError as error:
                    found["wrong"].append(f"{file}: {version}: {error.message}")
    answer[name] = found
json.dump(answer, sys.stdout)
