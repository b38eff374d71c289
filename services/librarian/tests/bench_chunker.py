"""Throughput of sectioning and chunking on synthetic prose: `python bench_chunker.py`.

Writes .bench/librarian_chunker.json; CPU time, best of five, tokenizer already loaded.
"""

import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from archive_librarian.adapters.tokenizer import load_tokenizer
from archive_librarian.domain.chunker import ChunkOptions, chunk
from archive_librarian.domain.document import Block, Extracted, Format
from archive_librarian.domain.flow import flow
from archive_librarian.domain.sections import sectioned

WORDS = [
    "the",
    "harbour",
    "water",
    "ship",
    "crane",
    "pilot",
    "berth",
    "tide",
    "signal",
    "engine",
    "rope",
    "quay",
    "captain",
    "of",
    "and",
    "to",
    "in",
    "is",
    "on",
    "for",
]


def prose(paragraphs: int) -> Extracted:
    """Seeded paragraphs of five sentences of about 15 words each."""
    chance = random.Random(1)

    def sentence() -> str:
        return " ".join(chance.choices(WORDS, k=chance.randint(8, 22))).capitalize() + "."

    blocks = tuple(Block(" ".join(sentence() for _ in range(5)), 1 + number // 6) for number in range(paragraphs))
    return Extracted(Format.TEXT, blocks[-1].page, blocks)


def best_of(runs: int, work: Callable[[], object]) -> float:
    """Seconds of CPU."""
    times: list[float] = []
    for _ in range(runs):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def main() -> None:
    document = prose(6000)
    tokenizer = load_tokenizer()
    text = flow(sectioned(document))
    megabytes = len(text.text.encode()) / 1e6
    figures = {
        "chunk_mb_per_s": megabytes / best_of(5, lambda: list(chunk(text, tokenizer, ChunkOptions()))),
        "flow_mb_per_s": megabytes / best_of(5, lambda: flow(sectioned(document))),
        "tokenize_mb_per_s": megabytes / best_of(5, lambda: tokenizer.count(text.text)),
    }
    table = [f"{name:20} {value:8.1f}" for name, value in figures.items()]
    Path(".bench").mkdir(exist_ok=True)
    Path(".bench/librarian_chunker.json").write_text(json.dumps({"figures": figures, "table": table}))
    sys.stdout.write("\n".join(table) + "\n")


if __name__ == "__main__":
    main()
