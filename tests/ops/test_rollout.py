"""Every process is replaced while people work: each drains inside its grace, and no request fails."""

import asyncio
import itertools
import json
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import yaml
from redis import Redis

from archive_testkit.fault_engine import fault_engine, spoken
from archive_testkit.system import ArchiveSystem

WAVES = (
    ("gateway", "engine-embed", "engine-mock-a", "agent", "tool-runner-2", "memory"),
    ("gateway-2", "engine-embed-2", "engine-mock-b", "agent-2", "tool-runner", "router", "librarian", "console"),
)
"""What is ended at once. Of what a waiting caller needs one always stays; work for others waits on the bus."""
BACK_S = 90.0
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

UNSURE = "unsure"
"""What came of a request whose connection ended: it may have reached a server that has just stopped reading."""

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600), pytest.mark.xdist_group("rollout")]


@dataclass
class Rollout:
    """What callers got, by kind of request, what streams were given meanwhile, and how processes ended."""

    answers: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])
    log: str = ""
    added: dict[str, int] = field(default_factory=dict[str, int])

    def note(self, kind: str, answer: str) -> None:
        """Count one answer."""
        self.answers.setdefault(kind, Counter())[answer] += 1

    def asked(self, *kinds: str) -> int:
        """Return how many requests of some kinds were answered."""
        return sum(self.answers.get(kind, Counter[str]()).total() for kind in kinds) - self.unsure(*kinds)

    def unsure(self, *kinds: str) -> int:
        """Return of how many requests nobody can say whether they were taken."""
        return sum(self.answers.get(kind, Counter[str]())[UNSURE] for kind in kinds)


class Traffic:
    """Callers that ask again and again, each on connections of its own, until told to stop."""

    def __init__(self, system: ArchiveSystem, rollout: Rollout) -> None:
        self._urls = {"page": str(system.run_info["console_url"])}
        self._url = system.url
        self._rollout = rollout
        self._stop = threading.Event()
        self.kinds: dict[str, Callable[[httpx.Client, int], str]] = {
            "chat": _chat,
            "embedding": _embed,
            "search": _search,
            "document": _document,
            "agent": _run,
            "page": _page,
        }
        self._threads = [threading.Thread(target=self._ask, args=(kind, ask)) for kind, ask in self.kinds.items()]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(120)

    def count(self) -> int:
        """Return how many answers there are of the kind with the fewest."""
        return min(self._rollout.asked(kind) for kind in self.kinds)

    def _ask(self, kind: str, ask: Callable[[httpx.Client, int], str]) -> None:
        for number in itertools.count():
            # Processes that start need the processors more than callers who have just been answered.
            if self._stop.wait(0.1):
                return
            try:
                with httpx.Client(base_url=self._urls.get(kind, self._url), timeout=120) as http:
                    answer = ask(http, number)
            except httpx.TransportError as error:
                answer = repr(error)
            self._rollout.note(kind, answer)


def _chat(http: httpx.Client, number: int) -> str:
    body = {"model": "mock", "messages": [{"role": "user", "content": f"Say {number}."}], "stream": True}
    with http.stream("POST", "/v1/chat/completions", json=body) as reply:
        text = reply.read().decode()
    return "done" if "[DONE]" in text and '"error"' not in text else f"{reply.status_code} {text[-300:]}"


def _embed(http: httpx.Client, number: int) -> str:
    reply = http.post("/v1/embeddings", json={"model": "auto", "input": f"text number {number}"})
    return "done" if reply.status_code == 200 else f"{reply.status_code} {reply.text[:300]}"


def _search(http: httpx.Client, number: int) -> str:
    """Memory has one owner: where its restart takes longer than a search may, the caller is told to ask again."""
    question = {"query": f"who is number {number}?", "top_k": 1}
    for _ in range(5):
        if http.post("/library/search", json=question).status_code == 200:
            return "done"
    reply = http.post("/library/search", json=question)
    return "done" if reply.status_code == 200 else f"{reply.status_code} {reply.text[:300]}"


def _document(http: httpx.Client, number: int) -> str:
    text = f"The keeper of gate {number} is called Ansel {number}. ".encode() * 3
    job_id = http.post("/v1/documents", files={"file": (f"gate-{number}.txt", text)}).json()["job_id"]
    until = time.monotonic() + 110
    while time.monotonic() < until:
        reply = http.get(f"/v1/jobs/{job_id}")
        if reply.status_code != 200:
            return f"{reply.status_code} {reply.text[:300]}"
        if (status := reply.json()["status"]) in {"done", "failed", "partial", "cancelled"}:
            return str(status)
        time.sleep(0.2)
    return "late"


def _run(http: httpx.Client, number: int) -> str:
    """Have the agent work something out with a tool."""
    reply = http.post("/agent", json={"question": f"What is 6 times 7? ({number})", "max_steps": 4})
    return "done" if reply.status_code == 200 and reply.json()["answer"] == "42" else reply.text[:600]


def _page(http: httpx.Client, number: int) -> str:
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
        with Traffic(system, seen) as traffic:
            wait_for(lambda: traffic.count() >= 1)
            for wave in WAVES:
                restart(system, wave)
                at = {kind: sum(told.values()) for kind, told in seen.answers.items()}
                wait_for(lambda at=at: all(sum(seen.answers[kind].values()) > before for kind, before in at.items()))
        seen.log = (home / "logs" / "supervisor.log").read_text()
        seen.added = settled(system, seen, before)
        yield seen
    finally:
        system.stop()


def _chat_works(url: str) -> bool:
    with httpx.Client(base_url=url, timeout=60) as http:
        return _chat(http, 0) == "done"


def ready(system: ArchiveSystem) -> dict[str, int]:
    """Return the process ids of what is ready, by name."""
    return {found["name"]: found["pid"] for found in system.run_info["processes"] if found["state"] == "ready"}


def settled(system: ArchiveSystem, seen: Rollout, before: Mapping[str, int]) -> dict[str, int]:
    """Return what streams were given since; what follows an answer may take a moment longer than the answer."""
    until = time.monotonic() + BACK_S
    while True:
        given = {key: count - before.get(key, 0) for key, count in added(system).items()}
        if time.monotonic() > until or all(given.get(key, 0) >= seen.asked(*kinds) for key, kinds in COUNTED.items()):
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


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + BACK_S
    while True:
        try:
            if condition():
                return
        except (OSError, ValueError, httpx.HTTPError):
            pass
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.1)


@pytest.mark.parametrize("kind", ["chat", "embedding", "search", "document", "agent", "page"])
def test_no_request_fails(rollout: Rollout, kind: str) -> None:
    assert set(rollout.answers[kind]) - {UNSURE} == {"done"}
    assert rollout.unsure(kind) <= (kind == "page"), "the page has one process, which is replaced once"


@pytest.mark.parametrize("stream", COUNTED)
def test_nothing_is_lost_or_doubled(rollout: Rollout, stream: str) -> None:
    asked, unsure = rollout.asked(*COUNTED[stream]), rollout.unsure(*COUNTED[stream])
    assert asked <= rollout.added[stream] <= asked + unsure


def test_nothing_is_given_up(rollout: Rollout) -> None:
    assert [key for key, count in rollout.added.items() if key.endswith(":dead") and count] == []


@pytest.mark.parametrize("name", [name for wave in WAVES for name in wave])
def test_process_drains_inside_its_grace(rollout: Rollout, name: str) -> None:
    ends = re.findall(rf"^\S+ {name} died exit code (\d+)", rollout.log, re.MULTILINE)
    assert ends == ["0"], "a process ends with 1 when its drain took longer than its grace"


def test_work_was_under_way(rollout: Rollout) -> None:
    assert all(sum(told.values()) >= len(WAVES) + 1 for told in rollout.answers.values())
