import pytest

from archive_cli import probe
from archive_cli.find import hint
from archive_finding import Found


def test_hint_names_the_command() -> None:
    told = hint(Found("Ollama", "http://127.0.0.1:11434/v1", ("llama",)), "./archive")
    assert told.endswith("(1 model). To use it: ./archive engines use http://127.0.0.1:11434/v1")


async def test_silence_is_status_zero() -> None:
    assert (await probe.get("127.0.0.1", 1, "/")).status == 0


@pytest.mark.parametrize("body", [b"", b"[]", b'{"services": {"a": null}}', b'{"services": {"a": {"b": null}}}'])
def test_nothing_fails_in_strange_answers(body: bytes) -> None:
    assert list(probe.failing_checks(body)) == []


def test_failing_checks_are_named() -> None:
    assert list(probe.failing_checks(b'{"services": {"a": {"bus": "away", "db": null}}}')) == ["bus: away"]
