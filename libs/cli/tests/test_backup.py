"""A backup is whole or refused, and fills empty installations only."""

import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from archive_cli.__main__ import main
from archive_cli.backup.bundle import BadBackup, Bundle, BundleWriter

if TYPE_CHECKING:
    from conftest import Archive


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A backup with one database and one blob."""
    (tmp_path / "content").write_bytes(b"content" * 1000)
    target = tmp_path / "backup.tar"
    with BundleWriter(target, version="1", parts=("memory", "blobs")) as bundle:
        bundle.add("memory/mem-0.db", tmp_path / "content")
        bundle.add(f"blobs/{'0' * 64}", tmp_path / "content")
    return target


def test_members_come_back(written: Path) -> None:
    bundle = Bundle(written)
    assert bundle.manifest.parts == ("memory", "blobs")
    assert [(name, file.read()) for name, file in bundle.members("memory")] == [("mem-0.db", b"content" * 1000)]
    assert written.stat().st_mode & 0o777 == 0o600


def test_failed_writing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), BundleWriter(tmp_path / "b.tar", version="1", parts=()) as bundle:
        bundle.add("memory/mem-0.db", tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["absent/b.tar", "folder", "file/b.tar"])
def test_unwritable_target_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    words = ["backup", str(tmp_path / target), "--home", str(tmp_path), "--parts", "config"]
    assert main(words) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert not list(tmp_path.glob("**/*.part"))


def test_changed_byte_is_refused(written: Path) -> None:
    data = bytearray(written.read_bytes())
    data[data.index(b"contentcontent")] ^= 1
    written.write_bytes(data)
    with pytest.raises(BadBackup, match="mem-0"):
        Bundle(written)


@pytest.mark.parametrize("kept", [0, 100, 4000, 9000])
def test_cut_file_is_refused(written: Path, kept: int) -> None:
    written.write_bytes(written.read_bytes()[:kept])
    with pytest.raises(BadBackup):
        Bundle(written)


@pytest.mark.parametrize("name", ["memory/../../etc/passwd", "/etc/passwd", "other/file", "memory/.hidden"])
def test_foreign_path_is_refused(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(BadBackup):
        Bundle(tmp_path / "b.tar")


def test_link_is_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("memory/mem-0.db")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        tar.addfile(link)
    with pytest.raises(BadBackup):
        Bundle(tmp_path / "b.tar")


def test_folder_at_rest_is_saved_and_restored(archive: "Archive", tmp_path: Path) -> None:
    archive.start()
    (archive.home / "engines.yaml").write_text("engines: []\n")
    assert archive.run("down").returncode == 0
    saved = archive.run("backup", str(tmp_path / "b.tar"), "--json")
    assert saved.returncode == 0, saved.stderr
    restored = archive.run("restore", str(tmp_path / "b.tar"), "--home", str(tmp_path / "new"), "--json")
    assert restored.returncode == 0, restored.stderr
    assert json.loads(restored.stdout)["parts"] == json.loads(saved.stdout)["parts"]
    assert (tmp_path / "new" / "engines.yaml").read_text() == "engines: []\n"
    again = archive.run("restore", str(tmp_path / "b.tar"), "--home", str(tmp_path / "new"))
    assert again.returncode == 1
    assert "no empty installation" in again.stderr


def test_running_folder_is_not_filled(archive: "Archive", written: Path) -> None:
    archive.start()
    refused = archive.run("restore", str(written))
    assert refused.returncode == 2
    assert "archive down" in refused.stderr


def test_unknown_part_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backup", str(tmp_path / "b.tar"), "--parts", "dreams"]) == 2
    assert "one of streams" in capsys.readouterr().err
