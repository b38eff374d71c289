"""User verbs against a small HTTP server that speaks the gateway's contract."""

import contextlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from archive_cli.__main__ import main

if TYPE_CHECKING:
    from conftest import FakeGateway

Captured = Callable[[], tuple[int, str, str]]
JOB = {"id": "j1", "status": "done", "phase": "done", "progress": 1.0, "document_id": "d1", "pages": 2, "chunks": 3}
SOURCE = {"type": "library", "filename": "a.pdf", "page": 12, "sentence": "It turns.", "text": "x", "cited": True}
ANSWER = {"question": "q", "answer": "It turns [Source 1].", "sources": [SOURCE], "success": True, "error": None}
ENGINE = {
    "worker": "w",
    "engine": "bundled",
    "pool": "small",
    "models": [{"id": "tiny"}],
    "capabilities": ["chat"],
    "slots": 2,
    "busy": 1,
    "healthy": True,
    "problem": "",
    "base_url": "",
}


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_text("It turns.")
    return path


def accept(gateway: "FakeGateway", *events: dict[str, Any]) -> None:
    gateway.answer("POST", "/v1/documents", {"job_id": "j1", "document_id": "d1"}, 202)
    gateway.events("GET", "/v1/jobs/j1/events", *(("job", event) for event in events))


def test_ingest_follows_the_job(
    fake_gateway: "FakeGateway", document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    accept(fake_gateway, JOB | {"status": "running", "phase": "chunking", "progress": 0.5}, JOB)
    assert main(["ingest", str(document)]) == 0
    out = capsys.readouterr().out
    assert "chunking" in out
    assert f"done     {document}: 2 pages, 3 chunks" in out
    assert b"It turns." in fake_gateway.requests[0][2]


def test_ingest_walks_folders(fake_gateway: "FakeGateway", tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one.md", "deep/two.md", ".hidden/three.md", "four.pdf"):
        path = tmp_path / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    accept(fake_gateway, JOB)
    assert main(["ingest", str(tmp_path / "docs"), "--only", "*.md", "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    ended = {Path(item["file"]).name for item in told if item.get("ended")}
    assert ended == {"one.md", "two.md"}


def test_refused_file_tells_the_next_step(
    fake_gateway: "FakeGateway", document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = {"code": "encrypted", "message": "It is encrypted.", "next_step": "remove the password"}
    accept(fake_gateway, JOB | {"status": "failed", "error": error})
    assert main(["ingest", str(document)]) == 1
    out = capsys.readouterr().out
    assert "It is encrypted." in out
    assert "next: remove the password" in out


def test_too_large_upload_names_the_limit(
    fake_gateway: "FakeGateway", document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = {"detail": "The limit is 100 MB.", "code": "too_large", "next_step": "split it"}
    fake_gateway.answer("POST", "/v1/documents", body, 413)
    assert main(["ingest", str(document), "--json"]) == 1
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["error"] == {"code": "too_large", "message": "The limit is 100 MB.", "next_step": "split it"}


def test_broken_event_stream_is_asked_again(fake_gateway: "FakeGateway", document: Path) -> None:
    accept(fake_gateway, JOB | {"status": "running"})
    fake_gateway.answer("GET", "/v1/jobs/j1", JOB)
    assert main(["ingest", str(document)]) == 0


def test_missing_file_is_wrong_usage(fake_gateway: "FakeGateway", capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ingest", "no-such-file"]) == 2
    assert "no-such-file" in capsys.readouterr().err
    assert not fake_gateway.requests


def test_ask_streams_and_lists_sources(fake_gateway: "FakeGateway", capsys: pytest.CaptureFixture[str]) -> None:
    fake_gateway.events(
        "POST",
        "/research",
        ("source", SOURCE),
        ("delta", {"text": "It "}),
        ("delta", {"text": "turns."}),
        ("done", ANSWER),
    )
    assert main(["ask", "Does it turn?"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("It turns.\n")
    assert '* [1] a.pdf, page 12: "It turns."' in out
    sent = json.loads(fake_gateway.requests[0][2])
    assert sent["stream"] is True
    assert sent["use_library"] is True


def test_unsupported_answer_is_called_so(fake_gateway: "FakeGateway", capsys: pytest.CaptureFixture[str]) -> None:
    found = ANSWER | {"sources": [SOURCE | {"cited": False}]}
    fake_gateway.events("POST", "/research", ("delta", {"text": "Bananas."}), ("done", found))
    assert main(["ask", "Does it turn?"]) == 0
    assert "No source supports a sentence of this answer" in capsys.readouterr().out


def test_ask_gives_one_json_value(fake_gateway: "FakeGateway", capsys: pytest.CaptureFixture[str]) -> None:
    fake_gateway.events("POST", "/research", ("delta", {"text": "x"}), ("done", ANSWER))
    assert main(["ask", "q", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == ANSWER


@pytest.mark.parametrize(
    ("events", "code"),
    [
        ([("error", {"code": "no_engine", "message": "No engine.", "next_step": "wait"})], 4),
        ([("done", ANSWER | {"success": False, "error": {"code": "x", "message": "No."}})], 4),
        ([("delta", {"text": "half"})], 1),
    ],
)
def test_failed_answer_is_told(fake_gateway: "FakeGateway", events: list[tuple[str, object]], code: int) -> None:
    fake_gateway.events("POST", "/research", *events)
    assert main(["ask", "q"]) == code


def test_failure_is_said_before_sources(fake_gateway: "FakeGateway", capfd: pytest.CaptureFixture[str]) -> None:
    failed = ANSWER | {"answer": "", "success": False, "error": {"code": "no_engine", "message": "No engine."}}
    fake_gateway.events("POST", "/research", ("source", SOURCE), ("done", failed))
    with contextlib.redirect_stderr(sys.stdout):
        assert main(["ask", "q"]) == 4
    out = capfd.readouterr().out
    assert 0 <= out.index("No engine.") < out.index("Sources (")


def test_chat_leaves_the_choice_open(fake_gateway: "FakeGateway", capsys: pytest.CaptureFixture[str]) -> None:
    chunk = {"choices": [{"delta": {"content": "Hello."}}]}
    last: dict[str, Any] = {"choices": [], "usage": {}}
    fake_gateway.events("POST", "/v1/chat/completions", ("message", chunk), ("message", last), ("message", "[DONE]"))
    assert main(["chat", "-m", "Hi"]) == 0
    assert capsys.readouterr().out == "Hello.\n"
    assert json.loads(fake_gateway.requests[-1][2])["model"] == "auto"


def test_chat_reads_a_pipe(
    fake_gateway: "FakeGateway", monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Hi\n"))
    chunk = {"choices": [{"delta": {"content": "Hello."}}]}
    fake_gateway.events("POST", "/v1/chat/completions", ("message", chunk), ("message", "[DONE]"))
    assert main(["chat", "--model", "tiny", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"model": "tiny", "message": "Hi", "response": "Hello."}


def test_error_inside_a_stream_is_told(fake_gateway: "FakeGateway", capsys: pytest.CaptureFixture[str]) -> None:
    error = {"error": {"message": "It broke.", "type": "server_error", "code": "engine_failed", "param": None}}
    fake_gateway.events("POST", "/v1/chat/completions", ("message", error))
    assert main(["chat", "--model", "tiny", "-m", "Hi"]) == 4
    assert "It broke." in capsys.readouterr().err


def test_search_shows_passages(fake_gateway: "FakeGateway", capsys: pytest.CaptureFixture[str]) -> None:
    chunk = {"filename": "a.pdf", "page_start": 4, "page_end": 4, "text": "It turns.", "similarity_pct": 79.0}
    fake_gateway.answer("POST", "/library/search", {"chunks": [chunk], "total": 1, "query": "turn"})
    assert main(["search", "turn", "-k", "3"]) == 0
    assert capsys.readouterr().out == "1. a.pdf, page 4  (0.79)\n   It turns.\n"


def test_agent_shows_steps(fake_gateway: "FakeGateway", capsys: pytest.CaptureFixture[str]) -> None:
    step = {"step_number": 1, "thought": "Add.", "action": "calculator", "action_input": "1+1", "observation": "2"}
    fake_gateway.answer("POST", "/agent/", {"answer": "2", "steps": [step], "success": True, "error": None})
    assert main(["agent", "1+1?"]) == 0
    out = capsys.readouterr().out
    assert "calculator(1+1)" in out
    assert out.endswith("\n2\n")


@pytest.mark.parametrize("steps", ["0", "-1", "51", "many"])
def test_impossible_steps_are_refused(steps: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["agent", "1+1?", f"--max-steps={steps}"])
    assert "from 1 to 50" in capsys.readouterr().err


def test_documents_are_listed(fake_gateway: "FakeGateway", capsys: pytest.CaptureFixture[str]) -> None:
    item = {"id": "d1", "filename": "a.pdf", "status": "ready", "pages": 2, "chunks": 3, "size": 2500}
    fake_gateway.answer("GET", "/v1/documents", {"documents": [item]})
    assert main(["documents", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["d1", "a.pdf", "ready", "2", "3", "2", "KB"]


def test_jobs_are_listed(fake_gateway: "FakeGateway", capsys: pytest.CaptureFixture[str]) -> None:
    job = {
        "id": "j1",
        "kind": "ingest",
        "filename": "a.pdf",
        "status": "running",
        "phase": "embedding",
        "progress": 0.5,
    }
    fake_gateway.answer("GET", "/v1/jobs", {"jobs": [job], "total": 3})
    assert main(["jobs", "list", "--limit", "1"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[1].split() == ["j1", "ingest", "a.pdf", "running", "embedding", "50%"]
    assert out[2].startswith("1 of 3")
    fake_gateway.answer("GET", "/v1/jobs", {"jobs": [], "total": 0})
    assert main(["jobs", "list"]) == 0
    assert "There are no jobs" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["documents", "show", "x"], ["documents", "delete", "x"], ["jobs", "show", "x"]])
def test_unknown_id_is_refused(
    fake_gateway: "FakeGateway", words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for method in ("GET", "DELETE"):
        body = {"detail": "There is no x.", "code": "not_found", "next_step": "list them"}
        fake_gateway.answer(method, f"/v1/{words[0]}/x", body, 404)
    assert main(words) == 4
    err = capsys.readouterr().err
    assert "There is no x." in err
    assert "next: list them" in err


def test_key_is_shown_to_the_gateway(fake_gateway: "FakeGateway", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHIVE_API_KEY", "secret")
    fake_gateway.answer("GET", "/v1/documents", {"documents": []})
    assert main(["documents", "list"]) == 0
    assert {name.lower(): value for name, value in fake_gateway.requests[0][3].items()}[
        "authorization"
    ] == "Bearer secret"


def test_bad_key_says_what_to_set(fake_gateway: "FakeGateway", capsys: pytest.CaptureFixture[str]) -> None:
    error = {"message": "Wrong key.", "type": "invalid_request_error", "param": None, "code": "invalid_api_key"}
    fake_gateway.answer("GET", "/v1/engines", {"error": error}, 401)
    assert main(["engines", "list", "--json"]) == 4
    told = json.loads(capsys.readouterr().out)["error"]
    assert told["code"] == "invalid_api_key"
    assert "ARCHIVE_API_KEY" in told["next_step"]


def test_engine_is_added_at_a_gateway(fake_gateway: "FakeGateway", tmp_path: Path) -> None:
    spec = {"name": "far", "base_url": "http://far:8000/v1", "pool": "far"}
    fake_gateway.answer("POST", "/v1/engines", spec, 201)
    fake_gateway.answer("DELETE", "/v1/engines/added/far", {"name": "far", "removed": True})
    there = ["--gateway", fake_gateway.url, "--home", str(tmp_path)]
    assert main(["engines", "add", "http://far:8000", "--name", "far", *there]) == 0
    assert main(["engines", "remove", "far", *there]) == 0
    assert not (tmp_path / "engines.yaml").exists()


def test_engine_without_a_host_is_told(
    fake_gateway: "FakeGateway", tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = {"name": "far", "base_url": "http://far:8000/v1", "pool": "far", "hosted": False}
    fake_gateway.answer("POST", "/v1/engines", spec, 201)
    assert main(["engines", "add", "http://far:8000", "--gateway", fake_gateway.url, "--home", str(tmp_path)]) == 0
    assert "ENGINE_HOST=true" in "".join(capsys.readouterr())


@pytest.mark.parametrize("word", ["notaurl", "ftp://far:21", ":8000", "http://"])
def test_word_is_no_engine(word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engines", "add", word, "--home", str(tmp_path), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "bad_url"
    assert not (tmp_path / "engines.yaml").exists()


def test_engines_are_listed(fake_gateway: "FakeGateway", capsys: pytest.CaptureFixture[str]) -> None:
    fake_gateway.answer("GET", "/v1/engines", {"engines": [ENGINE]})
    assert main(["engines", "list"]) == 0
    assert "bundled  small  tiny    1/2   built in  healthy" in capsys.readouterr().out


def test_silent_address_is_not_running(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ARCHIVE_URL", "http://127.0.0.1:1")
    assert main(["ask", "q"]) == 3
    assert "archive up" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["status"], ["down"], ["streams"], ["tail", "control"], ["documents", "list"]])
def test_nothing_running_is_told(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ARCHIVE_URL", raising=False)
    assert main([*words, "--home", str(tmp_path), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "not_running"


def test_other_program_is_recognised(fake_gateway: "FakeGateway", capsys: pytest.CaptureFixture[str]) -> None:
    fake_gateway.answers["GET", "/v1/documents"] = (200, b"<html>")
    assert main(["documents", "list"]) == 1
    assert "did not answer with JSON" in capsys.readouterr().err


def test_added_engine_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_KEY", "secret")
    home = ["--home", str(tmp_path)]
    assert main(["engines", "use", "http://127.0.0.1:1234", "--api-key-env", "OTHER_KEY", *home]) == 0
    text = (tmp_path / "engines.yaml").read_text()
    assert "default: lm-studio" in text
    assert "secret" not in text
    assert (tmp_path / "keys" / "lm-studio").read_text() == "secret"
    assert main(["engines", "remove", "lm-studio", *home]) == 0
    assert not (tmp_path / "keys" / "lm-studio").exists()


def test_unknown_engine_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHIVE_HOME", str(tmp_path))
    assert main(["engines", "use", "olama"]) == 2
    assert not (tmp_path / "engines.yaml").exists()


def test_bundled_model_is_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ARCHIVE_HOME", str(tmp_path))
    assert main(["engines", "use", "http://127.0.0.1:9", "--name", "mine"]) == 0
    assert "Nothing answers" in capsys.readouterr().err
    assert "default: mine" in (tmp_path / "engines.yaml").read_text()
    assert main(["engines", "use", "bundled"]) == 0
    assert "default: small" in (tmp_path / "engines.yaml").read_text()


def test_empty_key_variable_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTHER_KEY", raising=False)
    words = ["engines", "add", "http://127.0.0.1:1234", "--api-key-env", "OTHER_KEY", "--home", str(tmp_path)]
    assert main(words) == 2


def test_open_host_needs_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATEWAY_API_KEY", raising=False)
    assert main(["up", "--host", "0.0.0.0", "--home", str(tmp_path)]) == 2
