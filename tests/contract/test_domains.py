"""Domains decide: no I/O, no clock, no await, and nothing imported that could."""

import ast
import sys
from pathlib import Path

import pytest

from archive_contracts.streams import SERVICES

ROOT = Path(__file__).parents[2]
NUMERIC = {"numpy"}
SHAPES = {"pydantic", "archive_contracts"}
REACHES_OUT = {
    *"asyncio concurrent http logging multiprocessing os queue random secrets select shutil signal".split(),
    *"socket sqlite3 ssl subprocess tempfile threading time uuid".split(),
}
CLOCKS = {"now", "today", "utcnow", "monotonic", "perf_counter"}
FILES = {
    "exists",
    "is_file",
    "iterdir",
    "open",
    "read_bytes",
    "read_text",
    "stat",
    "unlink",
    "write_bytes",
    "write_text",
}


def modules(service: str) -> list[Path]:
    package = f"archive_{service.replace('-', '_')}"
    return sorted((ROOT / "services" / service / "src" / package / "domain").rglob("*.py"))


def nodes(service: str) -> list[tuple[str, ast.AST]]:
    return [(path.name, node) for path in modules(service) for node in ast.walk(ast.parse(path.read_text()))]


@pytest.mark.parametrize("service", SERVICES)
def test_domain_imports_nothing_that_reaches_out(service: str) -> None:
    allowed = (sys.stdlib_module_names - REACHES_OUT) | NUMERIC | SHAPES
    found = {(name, node.module) for name, node in nodes(service) if isinstance(node, ast.ImportFrom) and node.module}
    found |= {(name, one.name) for name, node in nodes(service) if isinstance(node, ast.Import) for one in node.names}
    own = f"archive_{service.replace('-', '_')}.domain"
    assert {one for one in found if one[1].partition(".")[0] not in allowed and not one[1].startswith(own)} == set()


@pytest.mark.parametrize("service", SERVICES)
def test_domain_neither_waits_nor_looks_at_a_clock(service: str) -> None:
    assert modules(service)
    waits = [name for name, node in nodes(service) if isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith)]
    calls = [
        (name, node.func.attr)
        for name, node in nodes(service)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS | FILES
    ]
    opened = [name for name, node in nodes(service) if isinstance(node, ast.Name) and node.id == "open"]
    assert (waits, calls, opened) == ([], [], [])
