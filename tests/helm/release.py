"""Installs, upgrades, rolls back and removes a release by Helm's own library. Runs in the environment .venv-helm.

python release.py < QUESTION    JSON: the chart, the namespace, actions (a name and its arguments)
"""

import json
import sys

from helm_python import config

RELEASE = "codeact"
chart, namespace, actions = json.load(sys.stdin)
answers = []
with config.Config(namespace=namespace) as cluster:
    for action, values in actions:
        if action in ("install", "upgrade"):
            answers.append(getattr(cluster, action)(chart, RELEASE, values, namespace=namespace))
        elif action == "rollback":
            answers.append(cluster.rollback(RELEASE, **values))
        elif action == "uninstall":
            answers.append(cluster.uninstall(RELEASE))
json.dump([str(answer)[:200] for answer in answers], sys.stdout)
