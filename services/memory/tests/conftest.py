"""A store in a temporary folder, and a place to import samples from."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from archive_memory.adapters.store import Store

# Test folders are no packages; memory_samples is a name that no other service's tests use.
sys.path.append(str(Path(__file__).parent))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mem-0.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    async with Store(path) as opened:
        yield opened
