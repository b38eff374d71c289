"""What `archive secrets` makes up is what the manifests ask for, and a credential changes without an outage."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from archive_cli.__main__ import main
from archive_contracts.access import digest
from archive_testkit.servers import RedisServer

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert main(["secrets", "--out", str(tmp_path), "--kubernetes"]) == 0
    return tmp_path


def made(folder: Path) -> dict[str, Json]:
    found = yaml.safe_load_all((folder / "kubernetes.yaml").read_text())
    return {each["metadata"]["name"]: each["stringData"] for each in found}


def asked(value: Any) -> Iterator[tuple[str, str]]:
    """Yield each (secret, key) that an object cannot be without; of a whole secret the key is empty."""
    if isinstance(value, list):
        for each in cast("list[Any]", value):
            yield from asked(each)
    if isinstance(value, dict):
        for name, inner in cast("Json", value).items():
            if name == "secretKeyRef":
                if not inner.get("optional"):
                    yield inner["name"], inner["key"]
            elif name == "secretTargetRef":
                yield from ((each["name"], each["key"]) for each in inner)
            elif name == "secret":
                yield inner["secretName"], ""
            else:
                yield from asked(inner)


def test_every_secret_of_the_manifests_is_made(folder: Path) -> None:
    files = [path for part in ("base", "components") for path in (ROOT / "k8s" / part).rglob("*.yaml")]
    wanted = {found for path in files for each in yaml.safe_load_all(path.read_text()) for found in asked(each)}
    secrets = made(folder)
    assert len(wanted) > 10
    assert {name for name, _ in wanted} == secrets.keys()
    assert [(name, key) for name, key in wanted if key and key not in secrets[name]] == []


def test_newest_password_is_given_to_clients(folder: Path) -> None:
    first = made(folder)
    file = folder / "passwords" / "router"
    file.write_text(file.read_text() + "another\n")
    assert main(["secrets", "--out", str(folder), "--kubernetes", "--bus-url", "rediss://USER:PASSWORD@far:1/0"]) == 0
    second = made(folder)
    assert second["archive-router"]["bus-url"] == "rediss://router:another@far:1/0"
    assert second["archive-passwords"]["router"].split() == [first["archive-passwords"]["router"].strip(), "another"]
    assert second["archive-gateway"]["state-url"] == first["archive-gateway"]["state-url"]


def test_administrator_is_known_by_digests(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    password = (folder / "passwords" / "administrator").read_text().strip()
    assert password not in (folder / "kubernetes.yaml").read_text()
    (mounted := tmp_path / "mounted").mkdir()
    for name, text in made(folder)["archive-passwords"].items():
        (mounted / name).write_text(text)
    told: list[str] = []
    for passwords in (folder / "passwords", mounted):
        capsys.readouterr()
        assert main(["acl", "--passwords", str(passwords)]) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]
    assert f"user administrator on {digest(password)}" in told[0].replace("reset ", "")


def test_administrator_renews_the_rules_of_a_server(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    passwords, rules = folder / "passwords", tmp_path / "users.acl"
    assert main(["acl", "--passwords", str(passwords), "--out", str(rules)]) == 0
    server = RedisServer(tmp_path / "data", durable=True, options=["--aclfile", str(rules)]).start()
    try:
        (passwords / "ingress-acme").write_text("door\n")
        (passwords / "router").write_text((passwords / "router").read_text() + "another\n")
        first = (passwords / "administrator").read_text().strip()
        monkeypatch.setenv("ARCHIVE_BUS_URL", server.url.replace("redis://", f"redis://administrator:{first}@"))
        assert main(["bootstrap", "--passwords", str(passwords)]) == 0
        capsys.readouterr()
        assert main(["doctor", "--json"]) == 0
        levels = {found["check"]: found["level"] for found in json.loads(capsys.readouterr().out)["findings"]}
        assert (levels["bus access"], levels["groups"]) == ("ok", "ok")
        with server.as_user("router", "another") as router:
            assert router.ping()
        with server.as_user("ingress-acme", "door") as acme:
            assert acme.xadd("{ingress.acme:0}", {"type": "document.ingest.v1", "data": "{}"})
    finally:
        server.stop()


def test_secrets_are_for_their_owner_only(folder: Path) -> None:
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.rglob("*") if path.is_file())
