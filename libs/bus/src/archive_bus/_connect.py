"""From addresses to a bus."""

import os
import socket

from archive_blobs import Blobs
from archive_bus._bus import Bus
from archive_bus._options import BusOptions
from archive_bus._redis import RedisTransport, RedisUrls


def connect(bus_url: str, state_url: str, options: BusOptions, *, blobs: Blobs | None = None) -> Bus:
    """Return a bus on two Redis roles; nothing is connected before it is entered.

    The servers list its connections as ``<service>@<host>:<process id>``, so that an operator sees who is there, and
    how many of a service are.
    """
    name = f"{options.service}@{socket.gethostname()}:{os.getpid()}"
    return Bus(
        RedisTransport(RedisUrls(bus=bus_url, state=state_url), options.limits, options.durability, name=name),
        options,
        blobs=blobs,
    )
