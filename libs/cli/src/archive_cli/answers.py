"""What the gateway answers, as lines for people. Pure."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, cast

Json = Mapping[str, Any]

EXCERPT = 480
"""Characters of a passage that a list of findings shows."""


def sources_told(answer: Json) -> list[str]:
    """Return the lines below an answer: what it stands on, or that nothing supports it."""
    sources: list[Json] = list(answer.get("sources") or [])
    if not sources:
        return []
    cited = sum(1 for source in sources if source.get("cited"))
    warning = ["", "No source supports a sentence of this answer: read them before you rely on it."]
    unsupported = warning if not cited and answer.get("success", True) else []
    return [*unsupported, "", f"Sources ({cited} of {len(sources)} cited, marked *):", *source_lines(sources)]


def source_lines(sources: Sequence[Json]) -> list[str]:
    """Return one line for each source: those the answer cites first, each with file, page and sentence.

    Sources keep the number by which the answer's `[Source N]` calls them.
    """
    numbered = [(int(source.get("number") or position), source) for position, source in enumerate(sources, start=1)]
    numbered.sort(key=lambda item: not item[1].get("cited"))
    lines: list[str] = []
    for number, source in numbered:
        mark = "*" if source.get("cited") else " "
        lines.append(f" {mark} [{number}] {place(source)}: {quote(source)}")
    return lines


def place(source: Json) -> str:
    """Return where a passage stands: file and page, or that it was remembered."""
    if source.get("type") == "memory" or not source.get("filename"):
        return "from memory"
    page = source.get("page")
    return f"{source['filename']}, page {page}" if page else str(source["filename"])


def quote(source: Json, *, width: int = 200) -> str:
    """Return the sentence that matters, else the beginning of the passage, on one line."""
    text = " ".join(str(source.get("sentence") or source.get("text") or source.get("message") or "").split())
    return f'"{text}"' if len(text) <= width else f'"{text[:width].rstrip()} ..."'


def chunk_lines(number: int, chunk: Json, *, query: str = "", width: int = 100) -> list[str]:
    """Return the lines of one found chunk: where it stands, how near it is, and what of it is nearest to the query.

    Without a query the whole text is shown.
    """
    start, end = chunk.get("page_start") or chunk.get("page"), chunk.get("page_end")
    pages = f", page {start}" if start else ""
    if start and end and end != start:
        pages = f", pages {start}-{end}"
    near = chunk.get("similarity")
    if near is None and chunk.get("similarity_pct") is not None:
        near = float(chunk["similarity_pct"]) / 100
    # Exactly none is what a passage has that was found by its words while no engine could embed the query.
    score = f"  ({float(near):.2f})" if near else ""
    text = " ".join(str(chunk.get("text", "")).split())
    shown = excerpt(text, query) if query else text
    body = textwrap.wrap(shown, width, initial_indent="   ", subsequent_indent="   ") or ["   "]
    return [f"{number}. {chunk.get('filename', '?')}{pages}{score}", *body]


def excerpt(text: str, query: str, *, length: int = EXCERPT) -> str:
    """Return the part of a text that begins with the sentence most like the query, whole sentences while they fit."""
    if len(text) <= length:
        return text
    wanted = {word for word in re.findall(r"\w+", query.casefold()) if len(word) > 2}
    starts = [0, *(match.end() for match in re.finditer(r"[.!?:;]\s+", text))]
    ends = [*starts[1:], len(text)]
    held = [
        len(wanted & set(re.findall(r"\w+", text[start:end].casefold())))
        for start, end in zip(starts, ends, strict=True)
    ]
    best = max(range(len(starts)), key=lambda index: (held[index], -index))
    start = starts[best]
    fitting = [end for end in ends[best:] if end - start <= length]
    stop = fitting[-1] if fitting else start + length
    before, after = "... " if start else "", " ..." if stop < len(text) else ""
    return f"{before}{text[start:stop].strip()}{after}"


def step_lines(step: Json) -> list[str]:
    """Return the lines of one step of an agent's run."""
    lines = [f"{step.get('step_number', '?')}. {step.get('thought') or '(no thought)'}"]
    if step.get("action"):
        lines.append(f"   {step['action']}({step.get('action_input', '')})")
    if step.get("observation"):
        lines.append(f"   -> {' '.join(str(step['observation']).split())[:500]}")
    return lines


def counts(job: Json) -> str:
    """Return how far a job has come: pages, chunks, vectors."""
    parts: list[str] = []
    for done, total, word in (("pages_done", "pages", "page"), ("chunks_done", "chunks", "chunk")):
        if job.get(total) is not None:
            done_now = job.get(done)
            whole = done_now is None or done_now == job[total]
            parts.append(_many(job[total], word) if whole else f"{done_now}/{_many(job[total], word)}")
    if job.get("vectors") is not None:
        parts.append(_many(job["vectors"], "vector"))
    return ", ".join(parts)


def share(job: Json) -> str:
    """Return how much of its phase is done, where no count tells."""
    return "" if job.get("share") is None else f"{100 * job['share']:.0f} %"


def _many(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def model_ids(engine: Json) -> list[str]:
    """Return the names of an engine's models, which may come as cards or as names."""
    models: list[Any] = list(engine.get("models") or [])
    return [str(cast("Json", model)["id"]) if isinstance(model, dict) else str(model) for model in models]
