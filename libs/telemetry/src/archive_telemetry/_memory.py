"""Gives back what starting up left behind."""

import ctypes
import gc
import sys

YOUNG = 10_000
"""Objects that may be new before the collector looks at them: by Python's 700 it costs a service that handles thousands
of messages a second a hundredth of its time, and of what it looks at next to nothing is garbage."""


def settle() -> None:
    """Return the garbage of imports and start-up to the system, and spare the collector what stays.

    Importing a service parses metadata and builds schemas in memory that glibc keeps for reuse; a service that
    then idles would hold several megabytes of it for good. Other C libraries keep it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
