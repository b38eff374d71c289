"""Where an installation keeps things: what runs, a data folder at rest, or addresses of a cluster."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from archive_cli import probe
from archive_cli.errors import StartError
from archive_cli.home import Home
from archive_cli.ports import reserve
from archive_cli.valkey import new_server

PARTS = ("streams", "memory", "console", "blobs", "config")
_START_S = 60.0
_END_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One installation; without ``bus_url`` the bus is the embedded one of the data folder, which does not run."""

    home: Home
    bus_url: str
    blobs_url: str

    @property
    def folders(self) -> Mapping[str, Path]:
        """Folders of services with databases, by part."""
        return {"memory": self.home.path / "memory", "console": self.home.path / "console"}


def place_of(home: Home, env: Mapping[str, str]) -> Place:
    """Return what the variables name, else what runs on the data folder, else the folder itself."""
    run = home.read_run() if home.running else None
    return Place(
        home=home,
        bus_url=env.get("ARCHIVE_BUS_URL") or (run.bus_url if run else ""),
        blobs_url=env.get("ARCHIVE_BLOBS_URL") or (run.blobs_url if run else "") or (home.path / "blobs").as_uri(),
    )


@asynccontextmanager
async def bus_of(place: Place) -> AsyncGenerator[str]:
    """Yield the address of the bus; an embedded one at rest is started for so long.

    Raises:
        StartError: the embedded server does not start.
    """
    if place.bus_url:
        yield place.bus_url
        return
    held = reserve("127.0.0.1", 0, purpose="bus server", option="--ports bus=N")
    server = new_server("bus", port=held.port, folder=place.home.path / "bus")
    server.write()
    held.release()
    process = await asyncio.create_subprocess_exec(
        *server.command(), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(_START_S):
            while not await probe.ping(server.port):
                if process.returncode is not None:
                    raise StartError(f"The bus of {place.home.path} does not start (exit {process.returncode}).")
                await asyncio.sleep(0.05)
        yield server.url
    finally:
        if process.returncode is None:
            process.terminate()
            async with asyncio.timeout(_END_S):
                await process.wait()
