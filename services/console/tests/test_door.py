"""Sessions, forms, and the names of this machine."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_console.domain.door import Session, Signer, check_names, is_loopback, same_key
from archive_console.domain.errors import Refused

SIGNER = Signer(b"s" * 32)
SESSION = Session(tenant="acme", operator=False, nonce="n", until=1000.0)


def test_session_survives_its_cookie() -> None:
    assert SIGNER.open(SIGNER.seal(SESSION), now=999.0) == SESSION


def test_session_ends_in_time() -> None:
    assert SIGNER.open(SIGNER.seal(SESSION), now=1000.0) is None


def test_other_secret_opens_nothing() -> None:
    assert Signer(b"t" * 32).open(SIGNER.seal(SESSION), now=0.0) is None


@given(st.text())
def test_forged_cookie_opens_nothing(cookie: str) -> None:
    assert SIGNER.open(cookie, now=0.0) is None


@given(st.integers(min_value=0), st.characters(codec="ascii"))
def test_damaged_cookie_opens_nothing(place: int, char: str) -> None:
    cookie = SIGNER.seal(SESSION)
    place %= len(cookie)
    damaged = cookie[:place] + char + cookie[place + 1 :]
    assert damaged == cookie or SIGNER.open(damaged, now=0.0) is None


@pytest.mark.parametrize("body", [b"", b"bm90IGpzb24", b"WzFd", b"a"])
def test_signed_nonsense_opens_nothing(body: bytes) -> None:
    mac = hmac.new(b"s" * 32, b"session\n" + body, hashlib.sha256).hexdigest()
    assert SIGNER.open(f"{body.decode()}.{mac}", now=0.0) is None


def test_form_token_is_no_session() -> None:
    token = SIGNER.form_token(SESSION)
    assert SIGNER.open(f"n.{token}", now=0.0) is None
    assert token != SIGNER.form_token(Session(tenant="acme", operator=False, nonce="m", until=1000.0))


def test_key_is_compared_whole() -> None:
    assert same_key(" schlüssel ", "schlüssel")
    assert not same_key("schlüsse", "schlüssel")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "app.localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"])
def test_loopback_is_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "example.org", "192.168.1.4", "localhost.example.org", "::", "0.0.0.0"])
def test_other_hosts_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8090", None),
        ("127.0.0.1:8090", "http://127.0.0.1:8090"),
        ("[::1]:8090", "http://[::1]:8090"),
        ("localhost", "http://localhost"),
        (None, None),
    ],
)
def test_own_names_pass(host: str | None, origin: str | None) -> None:
    check_names(host, origin, open_door=True)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("evil.example", None),
        ("evil.example:8090", "http://evil.example:8090"),
        ("127.0.0.1:8090", "http://evil.example"),
        ("127.0.0.1:8090", "http://127.0.0.1:3000"),
        ("127.0.0.1:8090", "null"),
        ("127.0.0.1:8090", "http://[::1"),
        ("127.0.0.1:8090", "nonsense"),
        (None, "http://evil.example"),
    ],
)
def test_foreign_names_are_refused(host: str | None, origin: str | None) -> None:
    with pytest.raises(Refused):
        check_names(host, origin, open_door=True)


def test_key_allows_other_hosts() -> None:
    check_names("archive.example", "https://archive.example", open_door=False)
    with pytest.raises(Refused, match=r"evil\.example"):
        check_names("archive.example", "https://evil.example", open_door=False)
