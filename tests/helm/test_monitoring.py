"""Alert rules and the dashboard: each query asks for metrics that the server has, and each alert fires when it should.

Prometheus' own promtool evaluates the rules (Debian's package prometheus); Grafana's own types read the dashboard.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from codeact.metrics import Metrics, Moment, as_text
from sandbox_pool.pool.stats import PoolStats

ROOT = Path(__file__).parents[2]
FILES = ROOT / "helm" / "codeact" / "files"
PYTHON = ROOT / ".venv-helm" / "bin" / "python"
RUNBOOKS = ROOT / "docs" / "runbooks.md"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not there: apt install prometheus")

HEALTHY = {
    "codeact_responses_in_progress": "3x60",
    "codeact_store_up": "1x60",
    "codeact_store_ping_seconds": "0.002x60",
    "codeact_failing_tasks": "0x60",
    "codeact_event_loop_stalls_total": "0x60",
    "codeact_event_loop_lag_seconds": "0.01x60",
    'codeact_responses_total{status="failed"}': "0+1x60",
    'codeact_responses_total{status="completed"}': "0+100x60",
    'codeact_response_first_token_seconds_bucket{le="1"}': "0+100x60",
    'codeact_response_first_token_seconds_bucket{le="30"}': "0+101x60",
    'codeact_response_first_token_seconds_bucket{le="+Inf"}': "0+101x60",
    "codeact_pool_waiting": "0x60",
    'codeact_pool_acquires_total{result="hit"}': "0+100x60",
    'codeact_pool_acquires_total{result="miss"}': "0+1x60",
    'codeact_pool_acquires_total{result="turned_away"}': "0x60",
    "codeact_pool_failures_total": "0x60",
    "process_open_fds": "200x60",
    "process_max_fds": "1024x60",
}
"""The series of a server that does well, a sample each minute, in promtool's notation."""

TROUBLE: dict[str, dict[str, str | None]] = {
    "CodeactAbsent": {"codeact_responses_in_progress": None},
    "CodeactDatabaseAway": {"codeact_store_up": "0x60"},
    "CodeactDatabaseSlow": {"codeact_store_ping_seconds": "0.5x60"},
    "CodeactTaskDown": {"codeact_failing_tasks": "1x60"},
    "CodeactLoopStuck": {"codeact_event_loop_stalls_total": "0x50 1x10"},
    "CodeactLoopSlow": {"codeact_event_loop_lag_seconds": "0.4x60"},
    "CodeactResponsesFail": {'codeact_responses_total{status="failed"}': "0+10x60"},
    "CodeactSlowFirstToken": {'codeact_response_first_token_seconds_bucket{le="1"}': "0+50x60"},
    "CodeactOutOfSandboxes": {"codeact_pool_waiting": "2x60"},
    "CodeactPoolCold": {'codeact_pool_acquires_total{result="miss"}': "0+60x60"},
    "CodeactSandboxesFail": {"codeact_pool_failures_total": "0+1x60"},
    "CodeactFileDescriptors": {"process_open_fds": "900x60"},
}
"""For each alert: which series differ then from a healthy server's. None: they are missing."""


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def queries() -> list[str]:
    """The dashboard's queries, with its variables filled in."""
    board = json.loads((FILES / "dashboard.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    return [re.sub(r"\$(job|instance)", ".*", query).replace("$__rate_interval", "1m") for query in asked]


def served() -> set[str]:
    pool = PoolStats(**dict.fromkeys(PoolStats.__dataclass_fields__, 1))
    moment = Moment(responses=1, subscribers=1, pool=pool, store_ping_s=0.1, loop_lag_s=0.1, loop_stalls=1, failing=())
    lines = as_text({1: Metrics().families(moment)}).decode().splitlines()
    return {match[1] for line in lines if (match := re.match(r"# TYPE (\S+) ", line))}


def test_every_metric_that_is_asked_for_is_one_of_the_servers() -> None:
    known = served()
    for query in [rule["expr"] for rule in rules()] + queries():
        names = set(re.findall(r"\b(?:codeact|process)_[a-z_]+", query))
        assert names, query
        for name in names:
            assert {name, re.sub(r"_(bucket|count|sum)$", "", name)} & known, name


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    headings = re.findall(r"^## (Codeact\w+)$", RUNBOOKS.read_text(), re.MULTILINE)
    assert headings == [rule["alert"] for rule in rules()]
    for rule in rules():
        page, anchor = rule["annotations"]["runbook_url"].split("#")
        assert page.endswith("/docs/runbooks.md")
        assert anchor == rule["alert"].lower()


def promtool(tmp_path: Path, cases: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None
    tests = tmp_path / "tests.yaml"
    tests.write_text(yaml.safe_dump({"rule_files": [str(FILES / "alerts.yaml")], "tests": cases}))
    return subprocess.run([PROMTOOL, "test", "rules", tests], capture_output=True, text=True, check=False)


def case(series: dict[str, str | None], expected: set[str]) -> dict[str, Any]:
    def named(name: str) -> str:
        at = 'job="codeact", instance="a:8000"'
        return name.replace("{", "{" + at + ", ") if "{" in name else f"{name}{{{at}}}"

    return {
        "interval": "1m",
        "input_series": [{"series": named(name), "values": values} for name, values in series.items() if values],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) or vector(0)',
                "eval_time": "58m",
                "exp_samples": [{"labels": "{}", "value": 1 if alert in expected else 0}],
            }
            for alert in (rule["alert"] for rule in rules())
        ],
    }


@needs_promtool
def test_a_healthy_server_raises_no_alert_and_each_trouble_raises_its_own(tmp_path: Path) -> None:
    assert set(TROUBLE) == {rule["alert"] for rule in rules()}
    cases = [case(dict(HEALTHY), set())]
    cases += [case({**HEALTHY, **differing}, {alert}) for alert, differing in TROUBLE.items()]
    told = promtool(tmp_path, cases)
    assert told.returncode == 0, told.stdout + told.stderr


@needs_promtool
def test_a_wrong_expectation_is_found(tmp_path: Path) -> None:
    assert promtool(tmp_path, [case(dict(HEALTHY), {"CodeactTaskDown"})]).returncode != 0


@needs_promtool
def test_every_query_of_the_dashboard_is_one_that_prometheus_reads(tmp_path: Path) -> None:
    file = tmp_path / "queries.yaml"
    recorded = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries())]
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    assert PROMTOOL is not None
    told = subprocess.run([PROMTOOL, "check", "rules", file], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


READ = """
import json, sys
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
register_default_plugins()
board = Dashboard.from_json(json.load(sys.stdin))
print(json.dumps([panel.title for panel in board.panels if getattr(panel, "targets", None)]))
"""


@pytest.mark.skipif(not PYTHON.exists(), reason="the environment .venv-helm is not there: make install-dev")
def test_grafanas_own_types_read_the_dashboard() -> None:
    text = (FILES / "dashboard.json").read_text()
    read = subprocess.run([PYTHON, "-c", READ], input=text, capture_output=True, text=True, check=True)
    titles = json.loads(read.stdout)
    assert len(titles) == len(set(titles)) == sum("targets" in panel for panel in json.loads(text)["panels"])
