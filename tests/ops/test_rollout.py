"""Every process is replaced while people work: each drains inside its grace, and no request fails."""

import asyncio
import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import pytest
import yaml
from redis import Redis

from archive_testkit import waiting
from archive_testkit.fault_engine import fault_engine, spoken
from archive_testkit.system import ArchiveSystem
from archive_testkit.traffic import UNSURE, Answers, Ask, Traffic, chat, embed, search, upload

WAVES = (
    ("gateway", "engine-embed", "engine-mock-a", "agent", "tool-runner-2", "memory"),
    ("gateway-2", "engine-embed-2", "engine-mock-b", "agent-2", "tool-runner", "router", "librarian", "console"),
)
"""What is ended at once. Of what a waiting caller needs one always stays; work for others waits on the bus."""
BACK_S = 90.0
wait_for = partial(waiting.wait_for, within=BACK_S, despite=(OSError, ValueError, httpx.HTTPError))
COUNTED: dict[str, tuple[str, ...]] = {
    "{embeddings.requests:0}": ("embedding",),
    "{chat.events:0}": ("chat",),
    "{documents.commands:0}": ("document",),
    "{documents.chunks:0}": ("document",),
    "{documents.events:0}": ("document",),
    "{agent.commands:0}": ("agent",),
    "{tools.commands:0}": ("agent",),
    "{conversations.commands:0}": ("page", "page"),
}
"""What requests add, each once: the commands of gateway and agent, what engines answered, what librarian cut and memory
took in, and what the page had recorded: a question and an answer."""

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600), pytest.mark.xdist_group("rollout")]


@dataclass
class Rollout:
    """What callers got, what streams were given meanwhile, and how processes ended."""

    answers: Answers = field(default_factory=Answers)
    log: str = ""
    added: dict[str, int] = field(default_factory=dict[str, int])


def run(http: httpx.Client, number: int) -> str:
    """Have the agent work something out with a tool."""
    reply = http.post("/agent", json={"question": f"What is 6 times 7? ({number})", "max_steps": 4})
    return "done" if reply.status_code == 200 and reply.json()["answer"] == "42" else reply.text[:600]


def page(http: httpx.Client, number: int) -> str:
    """Ask at the page and read the answer there; while its one process is replaced, the browser tries again."""
    until, path = time.monotonic() + 110, ""
    while time.monotonic() < until:
        try:
            token = "" if path else http.get("/login").text.partition('name="form" value="')[2].partition('"')[0]
            path = path or _sent(http, {"form": token, "text": f"Ask {number}.", "mode": "chat"})
            (turn,) = [{"status": path}] if path == UNSURE else http.get(f"{path}/export.json").json()["turns"]
        except httpx.TransportError:
            turn = {"status": "away"}
        if turn["status"] in {"done", "failed", "stopped", UNSURE}:
            return str(turn["status"])
        time.sleep(0.2)
    return "late"


def _sent(http: httpx.Client, form: dict[str, str]) -> str:
    try:
        return str(http.post("/chat", data=form).headers["location"]).partition("#")[0]
    except httpx.ConnectError:
        raise
    except httpx.TransportError:
        return UNSURE


KINDS: dict[str, Ask] = {
    "chat": chat("mock"),
    "embedding": embed,
    "search": search,
    "document": upload,
    "agent": run,
    "page": page,
}


def speak(body: str) -> list[bytes | float | None]:
    """Answer as a model does: with a step of a run where one is asked for, else with words, for a second."""
    if "You solve a task step by step" not in body:
        return spoken(*("word " for _ in range(10)), pause_s=0.1)
    known = "Observation: 42" in body
    action, given = ("final_answer", {"answer": "42"}) if known else ("calculator", {"expression": "6*7"})
    return spoken(json.dumps({"thought": "So.", "action": action, "action_input": given}), pause_s=0.2)


@pytest.fixture(scope="module")
def mock_engine() -> Iterator[str]:
    """A model server that takes a second for its answer, so that work is under way at every moment."""
    started, stop, found = threading.Event(), threading.Event(), list[str]()

    async def serve() -> None:
        async with fault_engine() as engine:
            engine.routes["/v1/models"] = {"object": "list", "data": [{"id": "mock", "object": "model"}]}
            engine.chooses = speak
            found.append(engine.url)
            started.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(30)
    yield found[0]
    stop.set()
    thread.join(30)


@pytest.fixture(scope="module")
def rollout(tmp_path_factory: pytest.TempPathFactory, mock_engine: str) -> Iterator[Rollout]:
    """One rolling restart of everything under traffic."""
    home = tmp_path_factory.mktemp("rollout") / "home"
    home.mkdir()
    engine = {"pool": "mock", "base_url": f"{mock_engine.rstrip('/')}/v1", "model": "mock"}
    engines = [engine | {"name": name} for name in ("mock-a", "mock-b")]
    (home / "engines.yaml").write_text(yaml.safe_dump({"engines": engines}))
    system = ArchiveSystem(
        home, options=("--no-model", "--scale", "gateway=2", "engine-embed=2", "agent=2", "tool-runner=2")
    ).start()
    seen = Rollout()
    try:
        wait_for(lambda: {"engine-mock-a", "engine-mock-b"} <= ready(system).keys() and _chat_works(system.url))
        wait_for(lambda: added(system).get("{chat.events:0}", 0) >= 1)
        before = added(system)
        pages = str(system.run_info["console_url"])

        def caller(kind: str) -> httpx.Client:
            return httpx.Client(base_url=pages if kind == "page" else system.url, timeout=120)

        with Traffic(KINDS, caller, seen.answers) as traffic:
            wait_for(lambda: traffic.count() >= 1)
            for wave in WAVES:
                restart(system, wave)
                at = traffic.counted()
                wait_for(lambda at=at: all(count > at[kind] for kind, count in traffic.counted().items()))
        seen.log = (home / "logs" / "supervisor.log").read_text()
        seen.added = settled(system, seen, before)
        yield seen
    finally:
        system.stop()


def _chat_works(url: str) -> bool:
    with httpx.Client(base_url=url, timeout=60) as http:
        return KINDS["chat"](http, 0) == "done"


def ready(system: ArchiveSystem) -> dict[str, int]:
    """Return the process ids of what is ready, by name."""
    return {found["name"]: found["pid"] for found in system.run_info["processes"] if found["state"] == "ready"}


def settled(system: ArchiveSystem, seen: Rollout, before: Mapping[str, int]) -> dict[str, int]:
    """Return what streams were given since; what follows an answer may take a moment longer than the answer."""
    until = time.monotonic() + BACK_S
    while True:
        given = {key: count - before.get(key, 0) for key, count in added(system).items()}
        if time.monotonic() > until or all(
            given.get(key, 0) >= seen.answers.asked(*kinds) for key, kinds in COUNTED.items()
        ):
            return given
        time.sleep(0.2)


def added(system: ArchiveSystem) -> dict[str, int]:
    """Return how many entries each stream of the bus was ever given, those that are trimmed included."""
    url = system.run_info["bus_url"]
    server: Any = Redis.from_url(url, decode_responses=True)  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
    with server as client:
        keys = list(client.scan_iter(match="{*", _type="stream"))
        return {key: int(client.xinfo_stream(key)["entries-added"]) for key in keys}


def restart(system: ArchiveSystem, names: tuple[str, ...]) -> None:
    """Ask processes to end, as a rollout does, and wait until others have taken their places."""
    before = {name: system.pid_of(name) for name in names}
    for pid in before.values():
        os.kill(pid, signal.SIGTERM)
    wait_for(lambda: all(ready(system).get(name, pid) != pid for name, pid in before.items()))


@pytest.mark.parametrize("kind", KINDS)
def test_no_request_fails(rollout: Rollout, kind: str) -> None:
    assert set(rollout.answers[kind]) - {UNSURE} == {"done"}
    assert rollout.answers.unsure(kind) <= (kind == "page"), "the page has one process, which is replaced once"


@pytest.mark.parametrize("stream", COUNTED)
def test_nothing_is_lost_or_doubled(rollout: Rollout, stream: str) -> None:
    kinds = COUNTED[stream]
    asked, unsure = rollout.answers.asked(*kinds), rollout.answers.unsure(*kinds)
    assert asked <= rollout.added[stream] <= asked + unsure


def test_nothing_is_given_up(rollout: Rollout) -> None:
    assert [key for key, count in rollout.added.items() if key.endswith(":dead") and count] == []


@pytest.mark.parametrize("name", [name for wave in WAVES for name in wave])
def test_process_drains_inside_its_grace(rollout: Rollout, name: str) -> None:
    ends = re.findall(rf"^\S+ {name} died exit code (\d+)", rollout.log, re.MULTILINE)
    assert ends == ["0"], "a process ends with 1 when its drain took longer than its grace"


def test_work_was_under_way(rollout: Rollout) -> None:
    assert all(rollout.answers.told(kind) >= len(WAVES) + 1 for kind in KINDS)
