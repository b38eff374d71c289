"""The gateway's pure decisions."""

import base64
import json
import struct
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_contracts.base import Problem
from archive_contracts.documents import document_id
from archive_contracts.engine import Embedded, EngineLeft, EngineRegistered, ModelCard
from archive_contracts.keys import KeyBook
from archive_gateway.domain.chunks import content_of
from archive_gateway.domain.door import Guard, is_loopback, request_id
from archive_gateway.domain.errors import ForeignPage, WrongKey
from archive_gateway.domain.faces import error_body, error_headers
from archive_gateway.domain.identity import after, file_name, ingress_job_id, is_entry_id, is_id
from archive_gateway.domain.roster import Roster
from archive_gateway.domain.vectors import VectorError, each, rows


def worker(name: str, *models: str, healthy: bool = True, context: int = 0) -> EngineRegistered:
    cards = tuple(ModelCard(id=model, context=context) for model in models)
    return EngineRegistered(
        worker=name, engine=f"e-{name}", pool="p", models=cards, capabilities=("chat",), slots=1, healthy=healthy
    )


@dataclass
class Ring:
    """Keys at hand, or not read yet."""

    keys: KeyBook | None

    def book(self) -> KeyBook | None:
        return self.keys


def door(book: KeyBook | None = KeyBook(), *, key: str = "", now: float = 0.0) -> Guard:  # noqa: B008 - never changed
    return Guard(Ring(book), key=key, tenant="default", clock=lambda: now)


@pytest.mark.parametrize(
    ("name", "here"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("a.localhost", True),
        ("127.9.9.9", True),
        ("[::1]", True),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("0.0.0.0", False),
        ("", False),
    ],
)
def test_loopback_is_recognized(name: str, here: bool) -> None:
    assert is_loopback(name) is here


@pytest.mark.parametrize("given_key", [b"", b"Bearer", b"Bearer wrong", b"Basic right", b"right", b"Bearer right2"])
def test_only_the_key_opens(given_key: bytes) -> None:
    guard = door(key="right")
    with pytest.raises(WrongKey):
        guard.admit("/v1/models", {b"authorization": given_key})
    guard.admit("/v1/models", {b"authorization": b"bearer right"})
    guard.admit("/readyz", {})


def test_null_origin_is_foreign() -> None:
    guard = door()
    with pytest.raises(ForeignPage):
        guard.admit("/chat", {b"host": b"localhost", b"origin": b"null"})
    guard.admit("/chat", {b"host": b"[::1]:80", b"origin": b"http://127.0.0.1:8090"})
    guard.admit("/chat", {})


@given(st.binary())
def test_request_ids_stay_harmless(offered: bytes) -> None:
    chosen = request_id(offered, "made")
    assert chosen == "made" or (chosen.encode() == offered and chosen.isascii() and chosen.isprintable())


@given(st.text())
def test_file_names_stay_harmless(offered: str) -> None:
    name = file_name(offered, fallback="document")
    assert 0 < len(name) <= 255
    assert not set(name) & set("/\\\0\r\n")
    assert name not in {".", ".."}


def test_long_names_keep_their_suffix() -> None:
    assert file_name("a" * 300 + ".pdf", fallback="x").endswith("a.pdf")
    assert len(file_name("a" * 300, fallback="x")) == 255
    assert len(file_name("a." + "b" * 300, fallback="x")) == 255
    assert file_name("..", fallback="x") == file_name("/", fallback="x") == "x"


def test_ids_follow_from_content() -> None:
    assert document_id("a", "0" * 64) != document_id("b", "0" * 64)
    assert ingress_job_id("s", "1") == ingress_job_id("s", "1") != ingress_job_id("s", "2")
    assert is_id(document_id("a", "0" * 64))
    assert not is_id("{x}")
    assert not is_id("")


def test_entries_are_ordered_by_number() -> None:
    assert after("10-0", "9-5")
    assert after("9-10", "9-9")
    assert not after("9-9", "9-9")
    assert is_entry_id("17-0")
    assert not is_entry_id("17-0; DROP")


def test_roster_forgets_silent_workers() -> None:
    roster = Roster()
    roster.hear(worker("a", "m"), now=0.0, at=100.0)
    assert roster.offers(now=6.0)["m"].since == 100.0
    assert roster.offers(now=6.1) == {}
    roster.hear(worker("b", "n"), now=100.0, at=200.0)
    assert [member.worker.worker for member in roster.engines(now=0.0)] == ["b"]


def test_roster_merges_offers() -> None:
    roster = Roster()
    roster.hear(worker("a", "m", context=10), now=0.0, at=9.0)
    roster.hear(worker("b", "m", context=20), now=0.0, at=5.0)
    roster.hear(worker("c", "n", healthy=False), now=0.0, at=5.0)
    offer = roster.offers(now=1.0)
    assert list(offer) == ["m"]
    assert (offer["m"].context, offer["m"].since, offer["m"].engines) == (20, 5.0, ("e-a", "e-b"))
    roster.hear(EngineLeft(worker="a", pool="p"), now=1.0, at=10.0)
    roster.hear(EngineLeft(worker="never", pool="p"), now=1.0, at=10.0)
    assert roster.offers(now=1.0)["m"].engines == ("e-b",)


@given(st.lists(st.lists(st.floats(width=32, allow_nan=False), min_size=3, max_size=3), min_size=1, max_size=4))
def test_vectors_survive_both_encodings(vectors: list[list[float]]) -> None:
    raw = b"".join(struct.pack("<3f", *vector) for vector in vectors)
    found = Embedded(model="m", dim=3, vectors=base64.b64encode(raw).decode(), counts=(1,) * len(vectors))
    split = rows(found, texts=len(vectors))
    assert list(each(split, encoding="float")) == vectors
    assert [struct.unpack("<3f", base64.b64decode(str(row))) for row in each(split, encoding="base64")] == [
        tuple(vector) for vector in vectors
    ]


@pytest.mark.parametrize(("dim", "texts"), [(2, 2), (0, 1), (3, 1)])
def test_misshapen_vectors_are_refused(dim: int, texts: int) -> None:
    raw = base64.b64encode(struct.pack("<2f", 1, 2)).decode()
    with pytest.raises(VectorError):
        rows(Embedded(model="m", dim=dim, vectors=raw, counts=(1,)), texts=texts)


def test_errors_wear_the_face_of_their_address() -> None:
    problem = Problem(code="c", message="M.", next_step="N.", status=503)
    assert json.loads(error_body(problem, "/v1/x"))["error"]["type"] == "server_error"
    assert json.loads(error_body(problem, "/v10")) == {"detail": "M.", "code": "c", "next_step": "N."}
    assert error_headers(problem) == [
        (b"retry-after", b"2"),
        (b"retry-after-ms", b"2000"),
        (b"x-should-retry", b"true"),
    ]
    assert error_headers(Problem(code="c", message="M", status=400)) == []
    assert error_headers(Problem(code="c", message="M", status=401)) == [(b"www-authenticate", b"Bearer")]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"choices":[{"index":1,"delta":{"content":"b"}},{"index":0,"delta":{"content":"a"}}]}', "a"),
        ('{"choices":[{"delta":{"content":null}}]}', ""),
        ('{"choices":[{"delta":{}}]}', ""),
        ('{"choices":[3, {"delta":3}]}', ""),
        ('{"choices":3}', ""),
        ("[]", ""),
        ("{", ""),
    ],
)
def test_chunk_tells_its_text(body: str, text: str) -> None:
    assert content_of(body) == text
