"""Finds model servers of other programs on this machine."""

from archive_finding._engines import USUAL, Found, find_engines, read_models
from archive_finding._http import Answer, exchange, get
from archive_finding._place import BadPlace, Place, place_of

__all__ = [
    "USUAL",
    "Answer",
    "BadPlace",
    "Found",
    "Place",
    "exchange",
    "find_engines",
    "get",
    "place_of",
    "read_models",
]
