"""Write the rooms of a new service: ``python -m archive_testkit.new_service NAME [ROOT]``.

What comes out installs, starts, and passes the linters, and compose and Kubernetes know it. It says nothing yet: its
messages are added to the contracts, its streams to the map, and a subscription to its ``app``. No other service
changes.
"""

import re
import sys
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LAST = re.compile(r'^    "archive_tool_runner(?P<room>\.\w+)?",\n', re.MULTILINE)
"""The lists of the linters, and of coverage, name every service; a new one stands below this one."""
OWN_IMPORTS = re.compile(r"(^from archive_\S+ import .*\n)+", re.MULTILINE)
LAYER = " | archive_cli"
MODEL = "agent"
"""The service whose place in compose and Kubernetes a new one's is made after: it needs nothing but the two servers."""
NETWORKS = "\nnetworks:\n"
LAST_BASE = "  - engine-embed\n"
LAST_IMAGE = "  - name: archive/cli\n"
FIRST_STORED = "name: agent|"
FIRST_ALLOWED = "          - agent\n"
LAST_TRACED = "  engine-embed: *traced\n"
LAST_SCRAPED = "          - engine-embed\n"


class CannotCreate(Exception):
    """The service cannot be written; the text says why and what to do."""


def create(root: Path, name: str) -> list[Path]:
    """Write the service below a repository's root and enter it with the linters. Returns the files written or changed.

    Raises:
        CannotCreate: a name that cannot be one, or that is taken.
    """
    if not NAME.fullmatch(name):
        raise CannotCreate(f"{name!r} cannot name a service; use words of small letters joined by '-', such as 'ocr'")
    home = root / "services" / name
    if home.exists():
        raise CannotCreate(f"{home} exists; choose another name")
    snake = name.replace("-", "_")
    words = {"name": name, "package": f"archive_{snake}", "prefix": f"{snake.upper()}_"}
    written = list(_write(files("archive_testkit") / "service_template", home, words))
    _enter(root / "pyproject.toml", words["package"])
    return [*written, root / "pyproject.toml", *_deploy(root, name)]


def _write(source: Traversable, target: Path, words: dict[str, str]) -> list[Path]:
    """Fill a folder of templates, whose names end in .txt so that no tool takes them for code."""
    written: list[Path] = []
    for entry in source.iterdir():
        if entry.is_dir():
            written += _write(entry, target / (words["package"] if entry.name == "package" else entry.name), words)
        elif entry.name.endswith(".txt"):
            path = target / entry.name.removesuffix(".txt")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_sorted(Template(entry.read_text()).substitute(words)))
            written.append(path)
    return written


def _sorted(text: str) -> str:
    """Put our own imports in order, which depends on the name of the service."""
    return OWN_IMPORTS.sub(lambda block: "".join(sorted(block[0].splitlines(keepends=True))), text)


def _enter(pyproject: Path, package: str) -> None:
    text = LAST.sub(lambda line: f'{line[0]}    "{package}{line["room"] or ""}",\n', pyproject.read_text())
    pyproject.write_text(text.replace(LAYER, f" | {package}{LAYER}", 1))


def _deploy(root: Path, name: str) -> list[Path]:
    """Write the service into compose and what watches it, and its base and its image into the kustomizations."""
    compose, base = root / "compose" / "compose.yaml", root / "k8s" / "base"
    watched = root / "compose" / "observability.yaml", root / "compose" / "observability" / "prometheus.yml"
    text = compose.read_text()
    stanza = re.search(rf"^  {MODEL}:\n(?:    .*\n)+", text, re.MULTILINE)
    if stanza is None:
        raise CannotCreate(f"{compose} has no service {MODEL}; write the stanza of {name} by hand")
    compose.write_text(text.replace(NETWORKS, _renamed(stanza[0], name) + NETWORKS, 1))
    _insert(watched[0], f"  {name}: *traced\n", before=LAST_TRACED)
    _insert(watched[1], f"          - {name}\n", before=LAST_SCRAPED)
    stored = root / "k8s" / "components" / "s3-blobs" / "kustomization.yaml"
    stored.write_text(stored.read_text().replace(FIRST_STORED, f"{FIRST_STORED}{name}|", 1))
    allowed = stored.with_name("store.yaml")
    _insert(allowed, f"          - {name}\n", before=FIRST_ALLOWED)
    folder = base / name
    folder.mkdir()
    for source in sorted((base / MODEL).iterdir()):
        (folder / _renamed(source.name, name)).write_text(_renamed(source.read_text(), name))
    _insert(base / "kustomization.yaml", f"  - {name}\n", before=LAST_BASE)
    overlays = sorted((root / "k8s" / "overlays").glob("*/kustomization.yaml"))
    for overlay in overlays:
        image = re.search(rf"^  - name: archive/{MODEL}\n(?:    .*\n)+", overlay.read_text(), re.MULTILINE)
        if image:
            _insert(overlay, _renamed(image[0], name), before=LAST_IMAGE)
    return [compose, *watched, stored, allowed, *sorted(folder.iterdir()), base / "kustomization.yaml", *overlays]


def _renamed(text: str, name: str) -> str:
    upper = name.upper().replace("-", "_")
    return re.sub(rf"\b{MODEL}\b", name, text).replace(f"{MODEL.upper()}_", f"{upper}_")


def _insert(path: Path, lines: str, *, before: str) -> None:
    path.write_text(path.read_text().replace(before, lines + before, 1))


def main(arguments: list[str]) -> int:
    """Write the service and say what is next. Returns the exit code."""
    if not arguments:
        sys.stderr.write("which service? next: make new-service NAME=ocr\n")
        return 2
    name, *rest = arguments
    try:
        written = create(Path(rest[0] if rest else "."), name)
    except CannotCreate as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.writelines(f"{path}\n" for path in written)
    sys.stdout.write(
        "next: add its messages to contracts, its streams and its name to streams.py, a subscription to app.py, "
        "how much keeps one replica busy to deploy/scaling.py, then make schemas\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
