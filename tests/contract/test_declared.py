"""Each package declares what it imports, so that it installs alone."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(
    path.parent for pattern in ("contracts", "libs/*", "services/*") for path in ROOT.glob(f"{pattern}/pyproject.toml")
)
DISTRIBUTIONS = packages_distributions()


def imported(package: Path) -> set[str]:
    """Top-level modules that the package's code names anywhere."""
    nodes = [node for path in (package / "src").rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names


def spelled(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_imports_are_declared(package: Path) -> None:
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    listed = [
        *project.get("dependencies", []),
        *(one for extra in project.get("optional-dependencies", {}).values() for one in extra),
    ]
    declared = {spelled(re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0]) for requirement in listed}
    own = {path.name for path in (package / "src").iterdir()}
    missing = {
        name
        for name in imported(package) - own
        if declared.isdisjoint(spelled(distribution) for distribution in DISTRIBUTIONS.get(name, [name]))
    }
    assert missing == set()
