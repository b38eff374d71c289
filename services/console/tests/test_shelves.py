"""What libraries held when somebody last looked."""

import asyncio
from typing import Any, cast

import pytest

from archive_console.adapters.shelves import Shelves
from archive_contracts.documents import DocumentInfo
from archive_contracts.memory import DocumentsFound

EMPTY = DocumentsFound(documents=(), total=0)
FULL = DocumentsFound(
    documents=(DocumentInfo(id="d", filename="a.pdf", status="ready", created_at=1.0),),
    total=1,
)


class Library:
    """Answers one look after the other, the last one again and again."""

    def __init__(self, *replies: DocumentsFound | Exception) -> None:
        self._replies = list(replies)

    async def request(self, *_: object, **__: object) -> DocumentsFound:
        reply = self._replies.pop(0) if self._replies[1:] else self._replies[0]
        if isinstance(reply, Exception):
            raise reply
        return reply


@pytest.mark.parametrize(
    ("replies", "seen"),
    [
        ((EMPTY, EMPTY, FULL), {"d": "a.pdf"}),
        ((ValueError("no such field"), FULL), {"d": "a.pdf"}),
        ((ValueError("no such field"),), None),
    ],
)
async def test_start_looks_until_there_is_something(
    monkeypatch: pytest.MonkeyPatch, replies: Any, seen: dict[str, str] | None
) -> None:
    monkeypatch.setattr("archive_console.adapters.shelves.PAUSES_S", (0.0,) * 3)
    shelves = Shelves(cast("Any", Library(*replies)), clock=lambda: 0.0, most=5)
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        await shelves.begin("acme", tasks)
        assert shelves.seen("acme") == seen
        assert shelves.seen("globex") is None
