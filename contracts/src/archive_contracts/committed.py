"""The schemas that earlier states of the repository promised, read from git."""

import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any


class HistoryUnavailable(Exception):
    """There is no earlier state to compare with; the text says why and what to do."""


def bases(root: Path, folder: str, *, named: str = "", changed: bool = False) -> list[str]:
    """Return the revisions whose schemas must still be readable, newest first.

    They are the states that a change to ``folder`` meets when it is merged:

    - HEAD, when the working tree holds a change of its own (``changed``);
    - else the parents of the last commit of this line that changed the folder. Looking further back than HEAD finds a
      break that lies under other commits of one push;
    - the commit at which this branch left ``main``, so that a branch of several commits is compared as a whole.

    A revision that is ``named`` is the only one.

    Raises:
        HistoryUnavailable: no git, no repository, a first commit, or a shallow clone that ends here.
    """
    _require_repository(root)
    if named:
        if not _lines(root, "rev-parse", "--verify", "--quiet", f"{named}^{{commit}}"):
            raise HistoryUnavailable(f"'{named}' is no revision of this repository; name another, or fetch it")
        return [named]
    if changed:
        found = _lines(root, "rev-parse", "--verify", "--quiet", "HEAD")
    else:
        last = _lines(root, "log", "-1", "--first-parent", "--format=%P", "--", folder)
        found = last[0].split() if last else []
    found += _fork(root)
    if not found:
        shallow = _lines(root, "rev-parse", "--is-shallow-repository") == ["true"]
        raise HistoryUnavailable(
            "this clone is shallow and holds no earlier schemas; fetch the history to compare"
            if shallow
            else "no earlier schemas are committed"
        )
    return list(dict.fromkeys(found))


def schemas(root: Path, revision: str, folder: str) -> dict[str, dict[str, Any]]:
    """Return the JSON Schemas of a revision by message type; none when it has no such folder."""
    listed = _lines(root, "ls-tree", "--name-only", revision, f"{folder}/")
    if not listed:
        return {}
    packed = _run(root, "archive", "--format=tar", revision, folder)
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        return {
            Path(member.name).stem: json.loads(content.read())
            for member in archive
            if member.name.endswith(".json") and (content := archive.extractfile(member))
        }


def _fork(root: Path) -> list[str]:
    """Return where this branch left main; nothing on main itself, or when there is no main here."""
    head = _lines(root, "rev-parse", "--verify", "--quiet", "HEAD")
    for main in ("origin/main", "main"):
        fork = _lines(root, "merge-base", "HEAD", main)
        if fork and fork != head:
            return fork
    return []


def _require_repository(root: Path) -> None:
    top = _lines(root, "rev-parse", "--show-toplevel")
    if not top or Path(top[0]).resolve() != root.resolve():
        raise HistoryUnavailable("this is no git checkout that git will read; earlier schemas are known to git only")


def _lines(root: Path, *arguments: str) -> list[str]:
    """Return what git answers, line by line; nothing when it refuses."""
    run = _run(root, *arguments)
    return run.stdout.decode().split("\n")[:-1] if run.returncode == 0 else []


def _run(root: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    git = shutil.which("git")
    if git is None:
        raise HistoryUnavailable("git is not installed; earlier schemas are known to git only")
    # The arguments are this module's own; a revision that somebody names is verified as one first.
    return subprocess.run([git, "-C", str(root), *arguments], check=False, capture_output=True)  # noqa: S603
