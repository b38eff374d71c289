"""Compose runs every service closed, limited, and in order; the image recipe holds what the specification asks."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from archive_cli.valkey import Role, new_server
from archive_contracts.access import USERS
from archive_contracts.streams import SERVICES
from archive_testkit.policy.resources import DOCUMENT, DOCUMENTS, EVICTING, REWRITING

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose" / "compose.yaml").read_text())
ALL: dict[str, Any] = COMPOSE["services"]
OURS = {name: one for name, one in ALL.items() if one["image"].startswith("archive/") and "restart" in one}
OVERLAYS = sorted(set((ROOT / "compose").glob("*.yaml")) - {ROOT / "compose" / "compose.yaml"})
DOCKERFILE = (ROOT / "compose" / "Dockerfile").read_text()


@pytest.mark.parametrize("name", ALL)
def test_container_is_closed_and_limited(name: str) -> None:
    one = ALL[name]
    assert one["read_only"]
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert one["mem_limit"]


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.stem)
def test_overlay_adds_closed_containers(path: Path) -> None:
    services: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text())["services"]
    added = [one for one in services.values() if "image" in one]
    assert added or any("extends" in one for one in services.values())
    for one in added:
        assert one["cap_drop"] == ["ALL"]
        assert one["security_opt"] == ["no-new-privileges:true"]
        assert one["mem_limit"]
        assert re.search(r":[\w.-]*\d|\$\{", one["image"])
        assert all(port.startswith("127.0.0.1:") for port in one.get("ports", ()))


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_runs_as_its_own_user(service: str) -> None:
    runs = [one for one in ALL.values() if one["image"] == f"archive/{service}"]
    assert runs
    for one in runs:
        urls = (one["environment"][name] for name in ("ARCHIVE_BUS_URL", "ARCHIVE_STATE_URL"))
        assert all(url.startswith(f"redis://{service}:$") for url in urls)
        assert one["depends_on"]["bootstrap"]["condition"] == "service_completed_successfully"
        assert one["depends_on"]["state"]["condition"] == "service_healthy"


def test_volumes_and_networks_are_declared() -> None:
    volumes = {word.split(":")[0] for one in ALL.values() for word in one.get("volumes", ()) if word[0] != "."}
    networks = {name for one in ALL.values() for name in one.get("networks", ())}
    assert volumes == set(COMPOSE["volumes"])
    assert networks == set(COMPOSE["networks"])


def test_nothing_listens_beyond_this_machine() -> None:
    ports = [port for one in ALL.values() for port in one.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_worker_reaches_the_bundled_model() -> None:
    worker, model = ALL["engine-small"], ALL["model"]
    assert worker["environment"]["ENGINE_BASE_URL"] == "http://127.0.0.1:8000/v1"
    assert worker["network_mode"] == "service:model"
    assert "--host" not in model["command"], "the model server has no keys and refuses other addresses"


def extending() -> dict[str, dict[str, Any]]:
    """Return the services of all overlays that extend one, with what they take over from it."""
    found: dict[str, dict[str, Any]] = {}
    for path in OVERLAYS:
        told: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text())["services"]
        found |= {name: {**ALL[one["extends"]["service"]], **one} for name, one in told.items() if "extends" in one}
    return found


def test_lane_of_an_overlay_waits_and_is_traced() -> None:
    found = extending()
    assert found
    for name, one in found.items():
        told = one["environment"]
        assert told["OTEL_EXPORTER_OTLP_ENDPOINT"] == "${TRACES_TO:-}", name
        if "ENGINE_BASE_URL" not in told:
            continue
        model = re.sub(r"^http://([\w-]+):.*", r"\1", told["ENGINE_BASE_URL"])
        (path,) = (path for path in OVERLAYS if name in yaml.safe_load(path.read_text())["services"])
        server = yaml.safe_load(path.read_text())["services"][model]
        wanted = "service_healthy" if "healthcheck" in server else "service_started"
        assert one["depends_on"][model]["condition"] == wanted


def test_host_of_added_engines_is_let_out() -> None:
    hosts = {name: one for name, one in extending().items() if "ENGINE_HOST" in one["environment"]}
    assert {name: one["networks"] for name, one in hosts.items()} == {"engine-host": ["inside", "edge"]}
    assert not [name for name, one in ALL.items() if "ENGINE_HOST" in one.get("environment", {})]


@pytest.mark.parametrize(("name", "of"), DOCUMENTS.items())
def test_documents_fit_into_temporary_folders(name: str, of: int) -> None:
    (size,) = ALL[name]["tmpfs"]
    room, limit = (int(text.removesuffix("m")) for text in (size.partition("size=")[2], ALL[name]["mem_limit"]))
    assert of * DOCUMENT <= room * 2**20
    assert limit >= room + 512, "what lies there counts as memory"


def test_each_health_port_has_its_network() -> None:
    every = {**ALL, **extending()}
    shared = [one["network_mode"] for one in every.values() if one.get("network_mode", "none") != "none"]
    assert len(every) > len(ALL)
    assert sorted(set(shared)) == sorted(shared), "two workers in one network want the same health port"


def test_prometheus_asks_whom_the_network_knows() -> None:
    told = yaml.safe_load((ROOT / "compose" / "observability" / "prometheus.yml").read_text())
    asked = {name for job in told["scrape_configs"] for each in job.get("dns_sd_configs", ()) for name in each["names"]}
    images = {f"archive/{service}" for service in SERVICES}
    workers = {name: one for name, one in {**ALL, **extending()}.items() if one["image"] in images}
    assert len(workers) > len(SERVICES)
    assert asked == {one.get("network_mode", name).removeprefix("service:") for name, one in workers.items()}
    traced = yaml.safe_load((ROOT / "compose" / "observability.yaml").read_text())["services"]
    assert workers.keys() - extending().keys() <= traced.keys()


def test_new_rules_reach_the_servers() -> None:
    for server in ("bus", "state"):
        assert ALL[server]["depends_on"][f"rules-{server}"]["restart"] is True


def test_bus_never_evicts() -> None:
    command = " ".join(ALL["bus"]["command"])
    assert "--maxmemory-policy noeviction" in command
    assert "--appendfsync always" in command


@pytest.mark.parametrize(("name", "factor"), [("bus", REWRITING), ("state", EVICTING)])
def test_server_has_memory_for_writing_its_file_anew(name: str, factor: float) -> None:
    told = dict(pairwise(ALL[name]["command"]))
    limit = int(ALL[name]["mem_limit"].removesuffix("g")) * 1024
    assert told["--appendonly"] == "yes", "what it holds dies with it"
    assert limit >= factor * int(told["--maxmemory"].removesuffix("mb"))


@pytest.mark.parametrize("role", ["bus", "state"])
def test_servers_keep_what_those_of_one_machine_keep(role: Role, tmp_path: Path) -> None:
    told = dict(pairwise(ALL[role]["command"]))
    ours = new_server(role, port=1, folder=tmp_path).configuration().splitlines()
    for name in ("appendonly", "appendfsync", "maxmemory-policy"):
        assert f"{name} {told[f'--{name}']}" in ours
    assert f"{role}:/data" in ALL[role]["volumes"]


def test_passwords_come_from_outside() -> None:
    text = (ROOT / "compose" / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{([A-Z_]+)_PASSWORD", text))
    assert asked <= {user.upper().replace("-", "_") for user in USERS}
    assert not re.search(r"redis://[a-z-]+:[^$]", text)


def test_image_runs_as_a_number_without_tools() -> None:
    last = DOCKERFILE.split("FROM ${BASE}\n")[-1]
    assert "USER 10001:10001" in last
    assert "HEALTHCHECK" in last
    assert not re.search(r"\buv\b|pip install|g\+\+|apt-get", last)
    assert "--constraints requirements.lock" in DOCKERFILE
    assert re.search(r"^ARG BASE=\S+@sha256:[0-9a-f]{64}$", DOCKERFILE, re.MULTILINE)
    assert "HNSWLIB_NO_NATIVE=1" in DOCKERFILE
