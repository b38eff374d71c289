"""Keys over the bus, as an operator makes them."""

from typing import get_args

import pytest

from archive_cli.commands.keys import SCOPES
from archive_cli.errors import NotRunningError, UsageError
from archive_cli.keys import create_key, list_keys, revoke_key, rotate_key
from archive_cli.runinfo import RunInfo
from archive_contracts.keys import USUAL_SCOPES, KeyLimits, KeyScope, digest_of


@pytest.fixture
def info(redis_url: str) -> RunInfo:
    return RunInfo(
        version="0",
        pid=1,
        state="ready",
        started_at=0.0,
        home="",
        url="",
        bus_url=redis_url,
        state_url=redis_url,
        blobs_url="",
    )


def made(info: RunInfo, name: str = "ci") -> dict[str, object]:
    limits = KeyLimits(requests_per_minute=5)
    return create_key(info, name, tenant="acme", scopes=USUAL_SCOPES, limits=limits, expires_in_s=3600)


def test_created_key_is_shown_once(info: RunInfo) -> None:
    key = made(info)
    (listed,) = list_keys(info)
    assert str(key["key"]).startswith("sk-archive-")
    assert str(key["key"]).endswith(str(listed["hint"]))
    assert (listed["name"], listed["tenant"], listed["state"]) == ("ci", "acme", "active")
    assert str(key["key"]) not in str(listed)
    assert digest_of(str(key["key"]).encode()) not in str(listed)


def test_rotated_key_has_another_secret(info: RunInfo) -> None:
    key = made(info)
    again = rotate_key(info, str(key["id"]), overlap_s=60)
    assert again["id"] == key["id"]
    assert again["key"] != key["key"]


def test_revoked_key_stays_revoked(info: RunInfo) -> None:
    key = made(info)
    assert revoke_key(info, str(key["id"]))["state"] == "revoked"
    with pytest.raises(UsageError, match="revoked"):
        rotate_key(info, str(key["id"]), overlap_s=0)


def test_unknown_key_is_said(info: RunInfo) -> None:
    with pytest.raises(UsageError, match="no key"):
        revoke_key(info, "key_none")


def test_absent_bus_is_said(info: RunInfo) -> None:
    gone = RunInfo.from_json(
        info.to_json() | {"bus_url": "redis://127.0.0.1:1/0", "state_url": "redis://127.0.0.1:1/0"}
    )
    assert gone is not None
    with pytest.raises(NotRunningError):
        list_keys(gone)


def test_every_scope_is_offered() -> None:
    assert get_args(KeyScope) == SCOPES
