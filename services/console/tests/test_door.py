"""Sessions, forms, and the names of this machine."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_console.domain.door import ANYBODY, SESSION_S, Locks, Session, Signer, check_names, is_loopback, landing
from archive_console.domain.errors import Refused
from archive_contracts.keys import KeyBook, KeyCreated, KeyEvent, KeyRevoked, KeyScope, digest_of

SIGNER = Signer(b"s" * 32)
SALT = "0123456789abcdef"
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


def test_other_operators_key_voids_its_sessions() -> None:
    old, new = Signer(b"s" * 32, key="old"), Signer(b"s" * 32, key="new")
    created = Session(tenant="acme", operator=False, nonce="n", until=1000.0, key="key_a")
    assert old.open(old.seal(SESSION), now=0.0) == SESSION
    assert (new.open(old.seal(SESSION), now=0.0), new.open(old.seal(created), now=0.0)) == (None, created)


def test_form_token_is_no_session() -> None:
    token = SIGNER.form_token(SESSION, SALT)
    assert SIGNER.open(f"n.{token}", now=0.0) is None
    assert not SIGNER.proves(Session(tenant="acme", operator=False, nonce="m", until=1000.0), token)


def test_each_page_has_its_own_proof() -> None:
    tokens = [SIGNER.form_token(SESSION, salt) for salt in (SALT, "f" * 16)]
    assert [SIGNER.proves(SESSION, token) for token in tokens] == [True, True]
    # Nothing that a packer could find twice is left but single digits.
    assert not any(tokens[0][start : start + 12] in tokens[1] for start in range(len(tokens[0]) - 12))


@given(st.text())
def test_forged_proof_is_refused(token: str) -> None:
    assert not SIGNER.proves(SESSION, token)


@given(st.integers(min_value=0), st.characters(codec="ascii"))
def test_damaged_proof_is_refused(place: int, char: str) -> None:
    token = SIGNER.form_token(SESSION, SALT)
    place %= len(token)
    damaged = token[:place] + char + token[place + 1 :]
    assert damaged == token or not SIGNER.proves(SESSION, damaged)


class Keys:
    """Keys as they were read, or not yet."""

    def __init__(self, *events: KeyEvent, known: bool = True) -> None:
        self._book = KeyBook(events) if known else None

    def book(self) -> KeyBook | None:
        return self._book


def created(secret: str, *scopes: KeyScope, expires_at: int | None = None) -> KeyCreated:
    digest = digest_of(secret.encode())
    return KeyCreated(
        key_id=f"key_{secret}",
        name="n",
        digest=digest,
        hint="h",
        tenant="acme",
        scopes=scopes,
        created_at=0,
        expires_at=expires_at,
    )


def enter(locks: Locks, given: str) -> Session | None:
    return locks.enter(given, now=100.0, nonce="n")


def test_first_key_closes_the_door() -> None:
    assert not Locks(Keys(), key="", tenant="t").locked
    assert Locks(Keys(), key="k", tenant="t").locked
    assert Locks(Keys(known=False), key="", tenant="t").locked
    revoked = (created("a", "platform"), KeyRevoked(key_id="key_a", revoked_at=1))
    assert Locks(Keys(*revoked), key="", tenant="t").locked


def test_own_key_is_compared_whole() -> None:
    locks = Locks(Keys(), key="schlüssel", tenant="t")
    session = enter(locks, " schlüssel ")
    assert session is not None
    assert session == Session(tenant="t", operator=True, nonce="n", until=100.0 + SESSION_S)
    assert locks.still(session, now=0.0)
    assert not Locks(Keys(), key="", tenant="t").still(session, now=0.0)
    for wrong in ("", "schlüsse", "schlüssel2"):
        assert enter(locks, wrong) is None
    assert enter(Locks(Keys(known=False), key="k", tenant="t"), "other") is None


def test_created_key_brings_tenant_and_scopes() -> None:
    locks = Locks(
        Keys(created("a", "platform"), created("b", "operator"), created("c", "inference")), key="", tenant=""
    )
    user, operator = enter(locks, "a"), enter(locks, "b")
    assert user is not None
    assert operator is not None
    assert (user.tenant, user.operator, user.key) == ("acme", False, "key_a")
    assert operator.operator
    assert enter(locks, "c") is None


def test_dead_key_ends_its_sessions() -> None:
    alive, expiring = created("a", "platform"), created("b", "platform", expires_at=200)
    session = enter(Locks(Keys(alive), key="", tenant=""), "a")
    short = enter(Locks(Keys(expiring), key="", tenant=""), "b")
    assert session is not None
    assert short is not None
    assert short.until == 200.0
    locks = Locks(Keys(alive, expiring, KeyRevoked(key_id="key_a", revoked_at=150)), key="", tenant="")
    assert (enter(locks, "a"), locks.still(session, now=151.0)) == (None, False)
    assert (locks.still(short, now=199.0), locks.still(short, now=200.0)) == (True, False)
    assert not Locks(Keys(known=False), key="", tenant="").still(session, now=0.0)
    assert not Locks(Keys(), key="", tenant="").still(session, now=0.0)


def test_actor_tells_the_key() -> None:
    session = Session(tenant="t", operator=True, nonce="0123456789", until=0.0, key="key_a")
    assert session.actor == "key_a/012345"
    assert Session(tenant="t", operator=True, nonce="n", until=0.0, key=ANYBODY).actor == "anybody"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "app.localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"])
def test_loopback_is_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "example.org", "192.168.1.4", "localhost.example.org", "::", "0.0.0.0"])
def test_other_hosts_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def admitted(host: str | None, origin: str | None) -> bool:
    """Return whether a request of these names comes in while there is no key."""
    try:
        check_names(host, origin, open_door=True)
    except Refused:
        return False
    return True


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
    assert admitted(host, origin)


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
    assert not admitted(host, origin)


def test_key_allows_other_hosts() -> None:
    check_names("archive.example", "https://archive.example", open_door=False)
    with pytest.raises(Refused, match=r"evil\.example"):
        check_names("archive.example", "https://evil.example", open_door=False)


@pytest.mark.parametrize("address", ["/chat/abc?edit=1", "/documents?q=a%20b", "/system"])
def test_login_leads_to_what_was_asked(address: str) -> None:
    assert landing(address) == address


@pytest.mark.parametrize(
    "address", ["", "//evil.example", "/\\evil.example", "/a\\b", "https://e.example", "/a\nb", "/login", "/x/events"]
)
def test_login_leads_nowhere_else(address: str) -> None:
    assert landing(address) == "/"
