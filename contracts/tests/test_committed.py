"""Earlier schemas, read from real repositories."""

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from archive_contracts import schemas
from archive_contracts.committed import HistoryUnavailable, bases
from archive_contracts.committed import schemas as schemas_of
from archive_contracts.schemas import SCHEMAS, breaks, generated, json_schemas, main


class Repository:
    """A checkout whose commits are made with a fixed identity, whatever the machine's configuration says."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.git("init", "--quiet", "--initial-branch", "main")

    def git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false")
        run = subprocess.run(["git", *identity, *arguments], cwd=self.root, check=True, capture_output=True, text=True)
        return run.stdout.strip()

    def commit(self, files: dict[str, str]) -> str:
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "change")
        return self.git("rev-parse", "HEAD")


def promised(**changes: Any) -> dict[str, str]:
    """The schemas of today as files; a change replaces a schema by type, dots written as underscores."""
    files = {f"{SCHEMAS}/{name}": json.dumps(schema) for name, schema in json_schemas().items()}
    return files | {f"{SCHEMAS}/{name.replace('_', '.')}.json": json.dumps(it) for name, it in changes.items()}


WITH_MORE: dict[str, Any] = {
    "type": "object",
    "properties": {"problem": {}, "hint": {"type": "string"}},
    "required": ["hint"],
}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_schemas_of_a_revision_are_read(repository: Repository) -> None:
    first = repository.commit({"a": "b"})
    repository.commit(promised())
    assert schemas_of(repository.root, "HEAD", SCHEMAS).keys() == {name[:-5] for name in json_schemas()}
    assert schemas_of(repository.root, first, SCHEMAS) == {}


def test_uncommitted_change_meets_head(repository: Repository) -> None:
    head = repository.commit(promised(failed_v1=WITH_MORE))
    assert breaks(repository.root)[0] == [head]
    assert "failed.v1.hint" in {one.path for _, one in breaks(repository.root)[1]}


def test_break_under_later_commits_is_found(repository: Repository) -> None:
    before = repository.commit(promised(failed_v1=WITH_MORE))
    repository.commit(promised())
    repository.commit({"README.md": "later"})
    compared, found = breaks(repository.root)
    assert compared == [before]
    assert found != []


def test_branch_is_compared_as_a_whole(repository: Repository) -> None:
    fork = repository.commit(promised(failed_v1=WITH_MORE))
    repository.git("switch", "--quiet", "--create", "topic")
    between = repository.commit(promised())
    repository.commit(promised(failed_v1={**json_schemas()["failed.v1.json"], "title": "other"}))
    repository.commit(promised())
    assert breaks(repository.root)[0] == [repository.git("rev-parse", "HEAD~1"), fork]
    assert breaks(repository.root, revision=between) == ([between], [])


def test_merge_is_compared_with_what_it_merged(repository: Repository) -> None:
    repository.commit(promised(failed_v1=WITH_MORE))
    repository.git("switch", "--quiet", "--create", "topic")
    topic = repository.commit(promised())
    repository.git("switch", "--quiet", "main")
    main_line = repository.commit({"other": "work"})
    repository.git("merge", "--quiet", "--no-ff", "topic", "--message", "merge")
    compared, found = breaks(repository.root)
    assert compared == [main_line, topic]
    assert found != []


def test_shallow_clone_says_that_it_compared_nothing(
    repository: Repository, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.commit(promised(failed_v1=WITH_MORE))
    repository.commit(promised())
    clone = tmp_path_factory.mktemp("shallow")
    repository.git("clone", "--quiet", "--depth", "1", repository.root.as_uri(), str(clone))
    assert main([str(clone), "--compat"]) == 0
    assert "this clone is shallow" in capsys.readouterr().out


@pytest.mark.parametrize("start", ["", "first"])
def test_no_earlier_schemas_is_said(repository: Repository, start: str) -> None:
    if start:
        repository.commit(promised())
    with pytest.raises(HistoryUnavailable, match="no earlier schemas"):
        bases(repository.root, SCHEMAS)


def test_folder_without_repository_is_said(tmp_path: Path) -> None:
    with pytest.raises(HistoryUnavailable, match="no git checkout"):
        breaks(tmp_path)


def test_absent_git_is_said(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository.root))
    with pytest.raises(HistoryUnavailable, match="git is not installed"):
        breaks(repository.root)


@pytest.mark.parametrize(("revision", "code"), [("HEAD", 0), ("HEAD~1", 1), ("nowhere", 2)])
def test_named_revision_decides_the_exit_code(repository: Repository, revision: str, code: int) -> None:
    repository.commit(promised(failed_v1=WITH_MORE))
    repository.commit(promised())
    assert main([f"--compat={revision}", str(repository.root)]) == code


@pytest.mark.parametrize(("released", "code", "verb"), [("0.9.0", 0, "widens"), ("1.0.0", 1, "breaks")])
def test_wider_messages_pass_before_version_one(
    repository: Repository,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    released: str,
    code: int,
    verb: str,
) -> None:
    narrower = copy.deepcopy(json_schemas()["chat.requested.v1.json"])
    narrower["properties"]["kind"]["enum"] = ["chat"]
    repository.commit(promised(chat_requested_v1=narrower))
    monkeypatch.setattr(schemas, "version", {"archive-contracts": released}.__getitem__)
    assert main([str(repository.root), "--compat"]) == code
    assert f"{verb} {repository.git('rev-parse', 'HEAD')[:12]}: chat.requested.v1.kind" in capsys.readouterr().out


def test_command_writes_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stale = tmp_path / SCHEMAS / "gone.v1.json"
    stale.parent.mkdir(parents=True)
    stale.write_text("{}")
    assert main([str(tmp_path), "--check"]) == 1
    assert main([str(tmp_path)]) == 0
    assert "removed" in capsys.readouterr().out
    assert main([str(tmp_path), "--check"]) == 0
    assert not stale.exists()


def test_pages_are_filled_between_their_marks(tmp_path: Path) -> None:
    page = tmp_path / "services" / "router" / schemas.README
    page.parent.mkdir(parents=True)
    page.write_text("before\n<!-- streams: generated by make schemas -->\nold\n<!-- end of streams -->\nafter\n")
    text = generated(tmp_path)[page]
    assert "| `chat.requests` | consumes | `chat.requested.v1` |" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text


def test_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / schemas.README).write_text("Nothing is generated here.\n")
    assert generated(tmp_path)[tmp_path / schemas.README] == "Nothing is generated here.\n"
