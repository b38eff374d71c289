"""Callers of all kinds at once, while what serves them is replaced; each request's outcome is counted."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

import httpx

UNSURE = "unsure"
"""What came of a request whose connection ended: it may have reached a server that has just stopped reading."""

Ask = Callable[[httpx.Client, int], str]
"""Makes the request of a number and returns `done`, or what came instead."""


class Answers(dict[str, Counter[str]]):
    """What callers got, by kind of request."""

    def note(self, kind: str, answer: str) -> None:
        """Count one answer."""
        self.setdefault(kind, Counter())[answer] += 1

    def told(self, kind: str) -> int:
        """Return how many requests of a kind have ended, however."""
        return self.get(kind, Counter[str]()).total()

    def asked(self, *kinds: str) -> int:
        """Return how many requests of some kinds were answered."""
        return sum(self.told(kind) for kind in kinds) - self.unsure(*kinds)

    def unsure(self, *kinds: str) -> int:
        """Return of how many requests nobody can say whether they were taken."""
        return sum(self.get(kind, Counter[str]())[UNSURE] for kind in kinds)


class Traffic:
    """Callers that ask again and again, each on connections of its own, until told to stop."""

    def __init__(self, kinds: Mapping[str, Ask], caller: Callable[[str], httpx.Client], answers: Answers) -> None:
        self._caller = caller
        self._answers = answers
        self._stop = threading.Event()
        self._kinds = tuple(kinds)
        self._threads = [threading.Thread(target=self._ask, args=each) for each in kinds.items()]

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
        return min(self._answers.asked(kind) for kind in self._kinds)

    def counted(self) -> dict[str, int]:
        """Return how many requests of each kind have ended."""
        return {kind: self._answers.told(kind) for kind in self._kinds}

    def _ask(self, kind: str, ask: Ask) -> None:
        for number in itertools.count():
            # Processes that start need the processors more than callers who have just been answered.
            if self._stop.wait(0.1):
                return
            try:
                with self._caller(kind) as http:
                    answer = ask(http, number)
            except httpx.TransportError as error:
                answer = repr(error)
            self._answers.note(kind, answer)


def chat(model: str) -> Ask:
    """Return how to ask a model for a streamed answer, which is to be complete."""

    def ask(http: httpx.Client, number: int) -> str:
        messages = [{"role": "user", "content": f"Say {number}."}]
        body = {"model": model, "messages": messages, "stream": True, "max_tokens": 20}
        with http.stream("POST", "/v1/chat/completions", json=body) as reply:
            text = reply.read().decode()
        return "done" if "[DONE]" in text and '"error"' not in text else f"{reply.status_code} {text[-300:]}"

    return ask


def embed(http: httpx.Client, number: int) -> str:
    """Have a text embedded."""
    reply = http.post("/v1/embeddings", json={"model": "auto", "input": f"text number {number}"})
    return "done" if reply.status_code == 200 else f"{reply.status_code} {reply.text[:300]}"


def search(http: httpx.Client, number: int) -> str:
    """Search. Memory has one owner: where its restart takes longer than a search may, a caller is told to ask again."""
    question = {"query": f"who is number {number}?", "top_k": 1}
    for _ in range(5):
        if http.post("/library/search", json=question).status_code == 200:
            return "done"
    reply = http.post("/library/search", json=question)
    return "done" if reply.status_code == 200 else f"{reply.status_code} {reply.text[:300]}"


def upload(http: httpx.Client, number: int) -> str:
    """Upload a document and wait for its end."""
    text = f"The keeper of gate {number} is called Ansel {number}. ".encode() * 3
    taken = http.post("/v1/documents", files={"file": (f"gate-{number}.txt", text)})
    if taken.status_code >= 400:
        return f"{taken.status_code} {taken.text[:300]}"
    job_id = taken.json()["job_id"]
    until = time.monotonic() + 110
    while time.monotonic() < until:
        reply = http.get(f"/v1/jobs/{job_id}")
        if reply.status_code != 200:
            return f"{reply.status_code} {reply.text[:300]}"
        if (status := reply.json()["status"]) in {"done", "failed", "partial", "cancelled"}:
            return str(status)
        time.sleep(0.2)
    return "late"
