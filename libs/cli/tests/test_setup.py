import json
from pathlib import Path

import pytest

from archive_cli.__main__ import main


def test_users_without_password_are_off(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["acl", "--server", "bus"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "user default off"
    assert all(" off " in line for line in lines[1:])


def test_every_line_of_a_file_is_a_password(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "router").write_text("old\nnew\n")
    out = tmp_path / "users.acl"
    assert main(["acl", "--passwords", str(tmp_path), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"written": str(out), "users": ["router"]}
    line = next(line for line in out.read_text().splitlines() if line.startswith("user router"))
    assert line.count(" #") == 2
    assert out.stat().st_mode & 0o777 == 0o600


def test_bootstrap_without_server_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ARCHIVE_BUS_URL", raising=False)
    assert main(["bootstrap"]) != 0
    assert "ARCHIVE_BUS_URL" in capsys.readouterr().err


def test_bootstrap_creates_groups(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ARCHIVE_BUS_URL", redis_url)
    assert main(["bootstrap", "--pools", "small", "--json"]) == 0
    assert "{engine.jobs:small} engine" in json.loads(capsys.readouterr().out)["created"]


def test_secrets_are_kept_and_hidden(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "secrets"
    assert main(["secrets", "--out", str(out)]) == 0
    first = (out / "env").read_text()
    assert main(["secrets", "--out", str(out)]) == 0
    assert (out / "env").read_text() == first
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in out.rglob("*") if path.is_file())
    password = (out / "passwords" / "router").read_text().strip()
    assert f"ROUTER_PASSWORD={password}" in first
    assert password not in capsys.readouterr().out


def test_passwords_come_from_variables(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TOOL_RUNNER_PASSWORD", "one")
    assert main(["acl", "--env"]) == 0
    on = [line for line in capsys.readouterr().out.splitlines() if " reset on #" in line]
    assert [line.split()[1] for line in on] == ["tool-runner"]


def test_publishers_are_users_by_their_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ingress-acme").write_text("secret\n")
    assert main(["acl", "--server", "bus", "--passwords", str(tmp_path)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("user ingress-acme ")]
    assert line.endswith("(%W~{ingress.acme:0} +xadd)")
    assert main(["acl", "--server", "state", "--passwords", str(tmp_path)]) == 0
    assert "ingress-acme" not in capsys.readouterr().out


def test_publishers_come_from_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "passwords").mkdir()
    (tmp_path / "passwords" / "ingress-acme-two").write_text("secret\n")
    assert main(["secrets", "--out", str(tmp_path)]) == 0
    assert "INGRESS_ACME_TWO_PASSWORD=secret" in (tmp_path / "env").read_text().splitlines()
    monkeypatch.setenv("INGRESS_ACME_TWO_PASSWORD", "secret")
    monkeypatch.setenv("INGRESS_HOST", "else")
    capsys.readouterr()
    assert main(["acl", "--server", "bus", "--env"]) == 0
    on = [line for line in capsys.readouterr().out.splitlines() if " reset on #" in line]
    assert [line.split()[1] for line in on] == ["ingress-acme-two"]


@pytest.mark.parametrize("words", [["default", "--tenant", "a"], ["A b", "--tenant", "a"], ["a", "--tenant", "a"]])
def test_impossible_ingress_is_refused(words: list[str]) -> None:
    extra = ["--types", "chat.requested.v1"] if words[0] == "a" else []
    assert main(["ingress", "create", *words, *extra]) == 2


def test_publisher_is_made_on_a_server(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ARCHIVE_BUS_URL", redis_url)
    assert main(["ingress", "create", "acme", "--tenant", "acme", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["user"], made["stream"], made["tenant"]) == ("ingress-acme", "{ingress.acme:0}", "acme")
    assert main(["ingress", "remove", "nobody"]) == 2
    assert main(["ingress", "remove", "acme"]) == 0
