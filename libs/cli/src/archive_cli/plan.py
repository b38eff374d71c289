"""Which processes make up the system, with which environment, and in which order they end. Pure."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from itertools import groupby
from pathlib import Path

from archive_cli.engine_list import EngineEntry
from archive_cli.errors import UsageError

SERVICES = ("gateway", "console", "router", "memory", "librarian", "agent", "tool-runner")
POOLS = ("small", "embed")
SINGLE = frozenset({"memory"})
"""Services with one writer for each partition: a second one would wait for ever."""

SHARED_ENGINE_SETTINGS = frozenset({"ENGINE_MODEL_DIR", "ENGINE_THREADS", "ENGINE_HEARTBEAT_S"})


class Wave(IntEnum):
    """When a process ends: callers before those they call, the servers that hold the messages last."""

    DOOR = 0
    SERVICE = 1
    ENGINE = 2
    MODEL = 3
    STORE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process to be kept running.

    With `ready_file` it tells its health port itself and is asked `/readyz` there; else `port` is asked:
    `/health` over HTTP, or, for a store, whether it answers PING.
    """

    name: str
    service: str
    wave: Wave
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    ready_file: Path | None = None
    port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the person asked for."""

    host: str = "127.0.0.1"
    port: int = 8080
    ports: Mapping[str, int] = field(default_factory=dict[str, int])
    scale: Mapping[str, int] = field(default_factory=dict[str, int])
    all_in_one: bool = False
    model: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where everything of this run lies: folders, addresses, the interpreter.

    The two URLs are the operator's; a service with a credential of its own finds its URL by its name.
    """

    home: Path
    python: str
    bus_url: str
    state_url: str
    bus_urls: Mapping[str, str] = field(default_factory=dict[str, str])
    state_urls: Mapping[str, str] = field(default_factory=dict[str, str])
    blobs_url: str
    gateway_port: int
    console_port: int
    model_port: int
    grace_s: float = 20.0


def parse_counts(words: Iterable[str], *, option: str, names: Sequence[str], highest: int) -> dict[str, int]:
    """Read ``NAME=NUMBER`` words.

    Raises:
        UsageError: another form, an unknown name, or a number above `highest`.
    """
    found: dict[str, int] = {}
    for word in words:
        match = re.fullmatch(r"([a-z-]+)=(\d{1,5})", word)
        if match is None or match[1] not in names or int(match[2]) > highest:
            raise UsageError(
                f"{option} does not understand {word!r}.",
                code="bad_option",
                next_step=f"write NAME=NUMBER, up to {highest}, with a name of {', '.join(names)}",
            )
        found[match[1]] = int(match[2])
    return found


def check(choice: Choice) -> None:
    """Refuse what cannot work.

    Raises:
        UsageError: zero replicas, two of a service that must be alone, replicas of what runs in one process.
    """
    if choice.all_in_one and choice.scale:
        raise UsageError("--all-in-one is one process.", code="bad_option", next_step="leave out --scale")
    for name, count in choice.scale.items():
        if count < 1 or (count > 1 and name in SINGLE):
            wanted = "exactly one" if name in SINGLE else "at least one"
            raise UsageError(f"There must be {wanted} {name}.", code="bad_option", next_step=f"drop {name}={count}")


def server_env(service: str, *, site: Site) -> dict[str, str]:
    """Return where a service finds the servers, with its own credential where it has one."""
    return {
        "ARCHIVE_BUS_URL": site.bus_urls.get(service, site.bus_url),
        "ARCHIVE_STATE_URL": site.state_urls.get(service, site.state_url),
    }


def common_env(site: Site) -> dict[str, str]:
    """Return what every process of ours reads."""
    return {
        "ARCHIVE_HOME": str(site.home),
        "ARCHIVE_BLOBS_URL": site.blobs_url,
        "ARCHIVE_HEALTH_HOST": "127.0.0.1",
        "ARCHIVE_HEALTH_PORT": "0",
        "ARCHIVE_GRACE_S": f"{site.grace_s:g}",
    }


def inherited(env: Mapping[str, str]) -> dict[str, str]:
    """Return what processes may see of the surroundings.

    One engine's address and key must not reach another engine's worker; what tunes all of them alike may.
    """
    return {
        name: value
        for name, value in env.items()
        if (not name.startswith("ENGINE_") or name in SHARED_ENGINE_SETTINGS) and name != "LIBRARIAN_WATCH_DIR"
    }


def service_env(name: str, *, choice: Choice, site: Site) -> dict[str, str]:
    """Return what one service reads beside that."""
    match name:
        case "gateway":
            return {"GATEWAY_HOST": choice.host, "GATEWAY_PORT": str(site.gateway_port)}
        case "console":
            return {
                "CONSOLE_HOST": choice.host,
                "CONSOLE_PORT": str(site.console_port),
                "CONSOLE_DIR": str(site.home / "console"),
                "CONSOLE_OPERATOR_BUS_URL": site.bus_url,
                "CONSOLE_OPERATOR_STATE_URL": site.state_url,
            }
        case "router":
            return {"ROUTER_ENGINES_FILE": str(site.home / "engines.yaml")}
        case "memory":
            return {"MEMORY_DIR": str(site.home / "memory")}
        case "librarian":
            return {"LIBRARIAN_WATCH_DIR": str(site.home / "Library-Drop")}
        case _:
            return {}


def engine_env(pool: str, *, site: Site) -> dict[str, str]:
    """Return what the worker of a built-in pool reads."""
    if pool == "embed":
        # It is always there, so it also runs the workers of engines that are added by API.
        return {"ENGINE_POOL": "embed", "ENGINE_NAME": "minilm", "ENGINE_KIND": "minilm", "ENGINE_HOST": "true"}
    return {
        "ENGINE_POOL": "small",
        "ENGINE_NAME": "bundled",
        "ENGINE_KIND": "openai",
        "ENGINE_BASE_URL": f"http://127.0.0.1:{site.model_port}/v1",
        "ENGINE_SLOTS": "2",
        "ENGINE_STREAM_UPSTREAM": "true",
    }


def system(choice: Choice, site: Site) -> tuple[Process, ...]:
    """Return every process beside the stores, in the order of their start."""
    model = (_model(site),) if choice.model else ()
    if choice.all_in_one:
        return (*model, _all_in_one(choice, site))
    engines = [
        _service("engine", wave=Wave.ENGINE, name=name, env=engine_env(pool, site=site), choice=choice, site=site)
        for pool in pools(choice)
        for name in _replicas(f"engine-{pool}", choice)
    ]
    services = [_replica(name, service, choice, site) for service in SERVICES for name in _replicas(service, choice)]
    return (*model, *engines, *services)


def pools(choice: Choice) -> tuple[str, ...]:
    """Return the built-in pools: without the bundled model there is none to serve `small`."""
    return POOLS if choice.model else ("embed",)


def parts(choice: Choice, site: Site) -> list[tuple[str, dict[str, str]]]:
    """Return (service, its environment) for each service of the one process, engines first."""
    engines = [("engine", engine_env(pool, site=site)) for pool in pools(choice)]
    others = [(name, service_env(name, choice=choice, site=site)) for name in SERVICES]
    return [(name, server_env(name, site=site) | env) for name, env in (*engines, *others)]


def added_engine(entry: EngineEntry, *, choice: Choice, site: Site, key: str) -> Process:
    """Return the worker beside an engine the person added; `key` is the engine's API key."""
    env = {
        "ENGINE_POOL": entry.pool,
        "ENGINE_NAME": entry.name,
        "ENGINE_KIND": "openai",
        "ENGINE_BASE_URL": entry.base_url,
        "ENGINE_SLOTS": str(entry.slots),
    }
    if entry.model:
        env["ENGINE_MODEL"] = entry.model
    if key:
        env["ENGINE_API_KEY"] = key
    return _service("engine", wave=Wave.ENGINE, name=f"engine-{entry.name}", env=env, choice=choice, site=site)


def stop_order(processes: Iterable[Process]) -> list[list[Process]]:
    """Return groups to be ended one after the other, each as a whole."""
    ordered = sorted(processes, key=lambda process: process.wave)
    return [list(group) for _, group in groupby(ordered, key=lambda process: process.wave)]


def _replicas(name: str, choice: Choice) -> list[str]:
    return [name, *(f"{name}-{number}" for number in range(2, choice.scale.get(name, 1) + 1))]


def _replica(name: str, service: str, choice: Choice, site: Site) -> Process:
    env = service_env(service, choice=choice, site=site)
    wave = Wave.DOOR if service in {"gateway", "console"} else Wave.SERVICE
    return _service(service, wave=wave, name=name, env=env, choice=choice, site=site)


def _service(service: str, *, wave: Wave, name: str, env: Mapping[str, str], choice: Choice, site: Site) -> Process:
    ready_file = site.home / "run" / f"{name}.json"
    own = {"ARCHIVE_READY_FILE": str(ready_file), "ARCHIVE_HEALTH_PORT": str(choice.ports.get(name, 0))}
    return Process(
        name=name,
        service=service,
        wave=wave,
        command=(site.python, "-m", f"archive_{service.replace('-', '_')}"),
        env=common_env(site) | server_env(service, site=site) | dict(env) | own,
        ready_file=ready_file,
    )


def _model(site: Site) -> Process:
    bind = ("--host", "127.0.0.1", "--port", str(site.model_port))
    return Process(
        name="model",
        service="model",
        wave=Wave.MODEL,
        command=(site.python, "-m", "archive_cli.model_server", *bind, "--ctx", "8192", "--slots", "2"),
        port=site.model_port,
    )


def _all_in_one(choice: Choice, site: Site) -> Process:
    env = {"ARCHIVE_ALL_IN_ONE": json.dumps(parts(choice, site))}
    whole = _service("all-in-one", wave=Wave.SERVICE, name="all-in-one", env=env, choice=choice, site=site)
    return replace(whole, command=(site.python, "-m", "archive_cli.all_in_one"))
