"""Ids and names that follow from what they name."""

import hashlib
import re
import unicodedata

_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_ENTRY = re.compile(r"\d{1,20}-\d{1,20}")
_LONGEST_NAME = 255


def ingress_job_id(stream: str, message_id: str) -> str:
    """Return the job of a foreign message: the same for each delivery of it, and never one of the API's own."""
    return hashlib.sha256(f"{stream}\n{message_id}".encode()).hexdigest()[:32]


def is_id(text: str) -> bool:
    """Whether a text can be the id of a job, a document or a memory; only such a text becomes part of a key."""
    return _ID.fullmatch(text) is not None


def is_entry_id(text: str) -> bool:
    """Whether a text can be the id of a stream entry, as in ``Last-Event-ID``."""
    return _ENTRY.fullmatch(text) is not None


def after(entry: str, mark: str) -> bool:
    """Whether a stream entry lies behind another one."""
    return _order(entry) > _order(mark)


def _order(entry: str) -> tuple[int, int]:
    milliseconds, _, number = entry.partition("-")
    return int(milliseconds), int(number)


def file_name(offered: str, *, fallback: str) -> str:
    """Return a name without folders, control characters or excess; only for people, no path is built from it."""
    name = unicodedata.normalize("NFC", offered).replace("\\", "/").rpartition("/")[2]
    name = "".join(char for char in name if unicodedata.category(char)[0] != "C").strip()
    if name in {"", ".", ".."}:
        return fallback
    if len(name) <= _LONGEST_NAME:
        return name
    stem, dot, suffix = name.rpartition(".")
    keep = f".{suffix}" if dot and len(suffix) <= 10 else ""
    return (stem if keep else name)[: _LONGEST_NAME - len(keep)] + keep
