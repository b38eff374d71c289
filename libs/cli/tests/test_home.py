import json
from pathlib import Path

import pytest

from archive_cli.errors import CliError
from archive_cli.home import Home, find_home, write_private
from archive_cli.runinfo import ProcessInfo, RunInfo

INFO = RunInfo(
    version="1",
    pid=7,
    state="ready",
    started_at=1.5,
    home="/h",
    url="http://127.0.0.1:1",
    bus_url="redis://x",
    state_url="redis://y",
    blobs_url="file:///b",
    processes=(ProcessInfo(name="router", service="router", pid=8, state="ready"),),
)


def test_named_folder_wins(tmp_path: Path) -> None:
    assert find_home(str(tmp_path), env={"ARCHIVE_HOME": "/x"}, cwd=Path("/")).path == tmp_path


def test_environment_names_the_folder(tmp_path: Path) -> None:
    assert find_home(None, env={"ARCHIVE_HOME": str(tmp_path)}, cwd=Path("/")).path == tmp_path


def test_checkout_is_found_from_inside(tmp_path: Path) -> None:
    deep = tmp_path / "services" / "router"
    deep.mkdir(parents=True)
    (tmp_path / "contracts").mkdir()
    assert find_home(None, env={}, cwd=deep).path == tmp_path / ".archive"


def test_elsewhere_the_current_folder_holds_it(tmp_path: Path) -> None:
    assert find_home(None, env={}, cwd=tmp_path).path == tmp_path / ".archive"


def test_folder_is_for_its_owner(home: Home) -> None:
    assert home.path.stat().st_mode & 0o777 == 0o700
    assert home.drop.is_dir()


def test_run_file_is_private_and_complete(home: Home) -> None:
    home.write_run(INFO)
    assert home.run_file.stat().st_mode & 0o777 == 0o600
    assert home.read_run() == INFO


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": 1}', "null", '{"processes": [3]}'])
def test_strange_run_file_is_none(home: Home, text: str) -> None:
    home.run_file.write_text(text)
    assert home.read_run() is None


def test_newer_fields_are_ignored(home: Home) -> None:
    home.run_file.write_text(json.dumps(INFO.to_json() | {"later": 1}))
    assert home.read_run() == INFO


def test_lock_admits_one(home: Home) -> None:
    with home.lock() as first, home.lock() as second:
        assert (first, second) == (True, False)
        assert home.running
    assert not home.running


def test_private_file_replaces_open_one(home: Home) -> None:
    path = home.path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600


def test_unusable_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CliError, match="cannot be prepared"):
        Home(tmp_path / "file" / "home").prepare()
