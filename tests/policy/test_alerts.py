"""Every alert fires when it should, says what to do, and dashboards ask for what there is."""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from archive_contracts.streams import STREAMS, Server

ROOT = Path(__file__).parents[2]
RULES = ROOT / "compose" / "observability" / "alerts.yaml"
Json = dict[str, Any]


def rules() -> list[Json]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def complaint(*words: str) -> str:
    """Return what promtool has against it."""
    if (found := shutil.which("promtool")) is None:
        pytest.skip("promtool is not installed (Debian's prometheus)")
    done = subprocess.run([found, *words], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


@dataclass(frozen=True)
class Case:
    """Figures a minute apart, when they raise no alert and when one, and what it says then."""

    series: Mapping[str, str]
    quiet: str
    loud: str
    labels: Mapping[str, str]
    summary: str


ROUTER = '{stream="{chat.requests:0}",group="router"}'
ENGINE = '{stream="{engine.jobs:small}",group="engine"}'
DEAD = 'archive_bus_dead_letters{service="router",stream="chat.requests",partition="0",pod="%s"}'
CASES: dict[str, Case] = {
    "ArchiveBacklogGrows": Case(
        {f"redis_stream_group_lag{ROUTER}": "0+200x60"},
        quiet="10m",
        loud="20m",
        labels={"topic": "chat.requests", "group": "router", "stream": "{chat.requests:0}", "severity": "warning"},
        summary="router does not keep up with chat.requests",
    ),
    "ArchiveWorkStands": Case(
        {f"redis_stream_group_lag{ENGINE}": "5x60", f"redis_stream_group_last_delivered_id{ENGINE}": "7x60"},
        quiet="5m",
        loud="30m",
        labels={"topic": "engine.jobs", "group": "engine", "stream": "{engine.jobs:small}", "severity": "critical"},
        summary="no engine takes work from engine.jobs",
    ),
    "ArchiveDeadLetters": Case(
        {DEAD % "a": "0x10 1x60", DEAD % "b": "_x5 0x5 1x60"},
        quiet="40m",
        loud="12m",
        labels={"service": "router", "stream": "chat.requests", "partition": "0", "severity": "warning"},
        summary="router gave up messages of chat.requests",
    ),
    "ArchiveStaleGroup": Case(
        {f"redis_stream_group_lag{ENGINE}": "5x500", f"redis_stream_group_last_delivered_id{ENGINE}": "7x500"},
        quiet="6h",
        loud="7h",
        labels={"group": "engine", "stream": "{engine.jobs:small}", "severity": "warning"},
        summary="engine keeps in memory what it has not read for hours: {engine.jobs:small}",
    ),
    "ArchiveServerFull": Case(
        {'redis_memory_used_bytes{instance="bus"}': "80x10 90x30", 'redis_memory_max_bytes{instance="bus"}': "100x40"},
        quiet="10m",
        loud="20m",
        labels={"instance": "bus", "severity": "critical"},
        summary="a Redis server is nearly full",
    ),
    "ArchiveServerAway": Case(
        {'redis_up{instance="bus"}': "1x10 0x20"},
        quiet="10m",
        loud="13m",
        labels={"instance": "bus", "severity": "critical"},
        summary="a Redis server is away",
    ),
    "ArchiveRefusedCommands": Case(
        {'redis_errors_total{err="NOPERM"}': "_x10 3x30"},
        quiet="25m",
        loud="12m",
        labels={"err": "NOPERM", "severity": "warning"},
        summary="a client asked for more than the access rules give it",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_alert_fires_when_it_should(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    notes = {"summary": case.summary, "runbook": f"k8s/README.md#{name.lower()}"}
    told = [{"exp_labels": dict(case.labels), "exp_annotations": notes}]
    moments: list[Json] = [
        {"eval_time": case.quiet, "alertname": name, "exp_alerts": []},
        {"eval_time": case.loud, "alertname": name, "exp_alerts": told},
    ]
    series = [{"series": each, "values": values} for each, values in case.series.items()]
    test: Json = {"interval": "1m", "input_series": series, "alert_rule_test": moments}
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": [test]}))
    assert complaint("test", "rules", str(tmp_path / "suite.yaml")) == ""


def test_absent_exporter_is_an_alert(tmp_path: Path) -> None:
    notes = {"summary": "a Redis server is away", "runbook": "k8s/README.md#archiveserveraway"}
    told = [{"exp_labels": {"severity": "critical"}, "exp_annotations": notes}]
    moment = {"eval_time": "5m", "alertname": "ArchiveServerAway", "exp_alerts": told}
    test: Json = {"interval": "1m", "input_series": [], "alert_rule_test": [moment]}
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": [test]}))
    assert complaint("test", "rules", str(tmp_path / "suite.yaml")) == ""


def test_every_alert_is_tested() -> None:
    assert {rule["alert"] for rule in rules()} == CASES.keys()


def test_promtool_accepts_the_alerts() -> None:
    assert complaint("check", "rules", str(RULES)) == ""


def test_promtool_accepts_the_settings() -> None:
    assert complaint("check", "config", str(RULES.with_name("prometheus.yml"))) == ""


def test_every_alert_has_a_runbook() -> None:
    text = (ROOT / "k8s" / "README.md").read_text()
    sections = dict(re.findall(r"^### (\w+)\n(.+?)(?=\n#|\Z)", text, re.MULTILINE | re.DOTALL))
    assert {rule["alert"] for rule in rules()} == sections.keys()
    assert all(rule["annotations"]["runbook"].endswith(f"#{rule['alert'].lower()}") for rule in rules())
    assert all(len(section) > 60 for section in sections.values())


def test_dashboards_show_every_stream_with_a_group() -> None:
    board: Json = json.loads((ROOT / "compose/observability/grafana/boards/archive-streams.json").read_text())
    asked = " ".join(target["expr"] for panel in board["panels"] for target in panel["targets"])
    wanted = [stream.name for stream in STREAMS.values() if stream.consumers and stream.server is Server.BUS]
    assert [name for name in wanted if f'stream="{name}"' not in asked] == []
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_dashboards_ask_for_metrics_that_exist() -> None:
    text = " ".join(path.read_text() for path in (ROOT / "compose/observability/grafana/boards").glob("*.json"))
    code = " ".join(
        path.read_text() for folder in ("libs", "services") for path in (ROOT / folder).glob("*/src/**/*.py")
    )
    asked = {re.sub(r"_(total|bucket)$", "", name) for name in re.findall(r"\barchive_[a-z_]+", text)}
    assert [name for name in asked if f'"{name}"' not in code] == []
