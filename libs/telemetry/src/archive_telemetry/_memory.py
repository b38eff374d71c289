"""Gives back what starting up left behind."""

import ctypes
import gc
import sys


def settle() -> None:
    """Return the garbage of imports and start-up to the system, and spare the collector what stays.

    Importing a service parses metadata and builds schemas in memory that glibc keeps for reuse; a service that
    then idles would hold several megabytes of it for good. Other C libraries keep it.
    """
    gc.collect()
    gc.freeze()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
