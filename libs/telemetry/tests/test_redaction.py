"""What counts as a secret."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_telemetry import REDACTED, Redactor

KEYS = ["authorization", "X-Api-Key", "api_key", "db_password", "CLIENT_SECRET", "access_token", "set-cookie"]
WORDS = st.text(st.characters(categories=["Ll", "Lu", "Nd"]), min_size=8, max_size=40)


@given(key=st.sampled_from(KEYS), secret=WORDS)
def test_secret_keys_hide_values(key: str, secret: str) -> None:
    cleaned = Redactor().field("payload", {"deep": [{key: f"§{secret}§"}]})
    assert f"§{secret}§" not in repr(cleaned)


@given(user=st.from_regex(r"[a-z]{0,8}", fullmatch=True), secret=st.from_regex(r"Z[A-Z0-9_.!$-]{8,20}", fullmatch=True))
def test_url_userinfo_is_hidden(user: str, secret: str) -> None:
    cleaned = Redactor().text(f"cannot reach redis://{user}:{secret}@cache:6379/0?x=1, retrying")
    assert secret not in cleaned
    assert "@cache:6379/0?x=1, retrying" in cleaned


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/a@b?user=x",
        "max_tokens=128 prompt_tokens: 9",
        "tokenizer=cl100k",
        "mail someone@example.org",
        "token: 12",
    ],
)
def test_harmless_text_is_kept(text: str) -> None:
    assert Redactor().text(text) == text


def test_token_counts_are_kept() -> None:
    assert Redactor().field("usage", {"completion_tokens": 7, "token": 3, "token_value": "abc"}) == {
        "completion_tokens": 7,
        "token": 3,
        "token_value": REDACTED,
    }


def test_environment_secrets_are_known() -> None:
    redactor = Redactor.from_env({"OPENAI_API_KEY": "sk-live-123456", "BUS_URL": "redis://u:p%40ssword@h/0"})
    assert redactor.text("sent sk-live-123456 and p@ssword and p%40ssword") == (
        f"sent {REDACTED} and {REDACTED} and {REDACTED}"
    )


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_any_value_is_cleaned(value: object) -> None:
    cleaned = Redactor(["supersecretvalue"]).field("field", value)
    assert "supersecretvalue" not in repr(cleaned)
