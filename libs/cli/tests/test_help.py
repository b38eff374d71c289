import argparse
import subprocess
import sys
from collections.abc import Iterator
from typing import cast

import pytest

from archive_cli.__main__ import build_parser, main


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions  # pyright: ignore[reportPrivateUsage] - argparse tells its verbs in no other way


def leaves(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of every verb."""
    nested = [
        action for action in _actions(parser) if isinstance(action.choices, dict) and action.nargs == argparse.PARSER
    ]
    if not nested:
        yield words
    for action in nested:
        children = cast("dict[str, argparse.ArgumentParser]", action.choices)
        for name, child in children.items():
            yield from leaves(child, (*words, name))


VERBS = sorted(leaves(build_parser()))


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_help_tells_codes_and_json(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        build_parser().parse_args([*words, "--help"])
    out = capsys.readouterr().out
    assert caught.value.code == 0
    assert "exit codes:" in out
    assert "--json" in out


def test_no_command_is_wrong_usage() -> None:
    with pytest.raises(SystemExit) as caught:
        build_parser().parse_args([])
    assert caught.value.code == 2


def test_bare_command_shows_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "archive ingest FILE-OR-FOLDER" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["-1", "65536", "99999", "http"])
def test_impossible_port_is_wrong_usage(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["up", f"--port={port}"])
    assert caught.value.code == 2
    assert "0 to 65535" in capsys.readouterr().err


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from archive_cli.__main__ import build_parser; build_parser();"
        "heavy = {'httpx', 'pydantic', 'redis', 'rich', 'yaml', 'psutil', 'archive_bus'} & set(sys.modules);"
        "sys.exit(f'{heavy}' if heavy else 0)"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


def test_version_is_told() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "archive_cli", "version"], capture_output=True, text=True, check=False
    )
    assert found.stdout.startswith("archive ")
