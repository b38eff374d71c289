"""The pipe between the service and its worker processes: length-prefixed JSON with an opaque tail.

Not pickle: a worker that a hostile file has taken over must not be able to run code in the service.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import astuple
from typing import Any

from archive_librarian.domain.chunker import Piece
from archive_librarian.domain.document import Block, Kind

Head = dict[str, Any]
HEADER = struct.Struct(">II")
MOST_BYTES = 1 << 30
BEGUN = 1 << 31
"""Bit beside the number of the page at work: the worker has taken the task."""


def pack(head: Head, tail: bytes = b"") -> bytes:
    """A frame: two lengths, the JSON head, the tail."""
    body = json.dumps(head, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return HEADER.pack(len(body), len(tail)) + body + tail


def unpack_head(body: bytes) -> Head:
    return json.loads(body)


def pack_blocks(blocks: Iterable[Block]) -> bytes:
    """Blocks on one line, so that the slices of a document can be laid after each other."""
    rows = [(b.text, b.page, b.kind.value, b.font_size, b.heading_level, b.bold) for b in blocks]
    return json.dumps(rows, separators=(",", ":")).encode()


def unpack_blocks(lines: bytes) -> list[Block]:
    return [
        Block(text, page, Kind(kind), size, level, bold)
        for line in lines.split(b"\n")
        if line
        for text, page, kind, size, level, bold in json.loads(line)
    ]


def pack_pieces(pieces: Iterable[Piece]) -> list[Any]:
    return [astuple(piece) for piece in pieces]


def unpack_pieces(rows: list[Any]) -> list[Piece]:
    return [
        Piece(
            *fields[:7],
            section=tuple(fields[7]),
            marks=tuple((offset, page) for offset, page in fields[8]),
            headings=tuple((start, end) for start, end in fields[9]),
        )
        for fields in rows
    ]
