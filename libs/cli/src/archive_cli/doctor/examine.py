"""Asks servers, processes and disk, and has every answer judged; what does not answer spoils nothing else."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from archive_blobs import BlobError, open_blobs
from archive_bus import BusError, Operator, fixed_streams, lane_streams, survey, survey_processes, survey_users
from archive_cli import __version__
from archive_cli.doctor import machine, servers, streams
from archive_cli.doctor.finding import Finding, failure, ok, skipped
from archive_cli.engine_list import BUNDLED_POOL
from archive_cli.errors import CliError, UsageError
from archive_cli.home import Home
from archive_cli.runinfo import RunInfo
from archive_contracts.access import WATCHERS
from archive_contracts.streams import SERVICES, Server

MODEL = "model"
"""The process of the bundled model, absent with --no-model."""
PRIVATE = ("run.json", "bus/users.acl", "bus/valkey.conf", "state/users.acl", "keys", "memory", "blobs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What to look at; what is empty or None is not looked at."""

    bus_url: str = ""
    state_url: str = ""
    blobs_url: str = ""
    gateway_url: str = ""
    pools: tuple[str, ...] = ()
    home: Home | None = None
    run: RunInfo | None = None


def examine(site: Site, *, key: str) -> list[Finding]:
    """Return every finding, in the order in which faults cause each other; ``key`` opens the gateway."""
    return [
        *_look_at_home(site),
        *asyncio.run(_look_at_servers(site)),
        *asyncio.run(_look_at_blobs(site)),
        *_look_at_processes(site),
        *_look_at_engines(site, key=key),
    ]


def _look_at_home(site: Site) -> Iterator[Finding]:
    if site.home is None:
        return
    path = site.home.path
    if not path.is_dir():
        yield failure("data folder", f"there is no {path}", "`archive up` makes it; or name another with --home")
        return
    usage = shutil.disk_usage(path)
    yield machine.judge_disk(str(path), free=usage.free, total=usage.total)
    private = [path, *(path / name for name in PRIVATE)]
    yield machine.judge_modes([str(each) for each in private if each.exists() and each.stat().st_mode & 0o077])
    from archive_cli.engine_store import load

    try:
        load(site.home)
    except UsageError as error:
        yield failure("engines.yaml", error.message, error.next_step)
    if site.run is None:
        yield failure("processes", f"nothing runs on {path}", "`archive up`; `archive logs` tells why it ended")


async def _look_at_servers(site: Site) -> list[Finding]:
    if not site.bus_url:
        return [skipped("bus server", "no address is known", "set ARCHIVE_BUS_URL, or start with `archive up`")]
    found: list[Finding] = []
    shared = site.bus_url == site.state_url
    # Nothing watches the servers of `archive up`.
    users = SERVICES if site.run else (*SERVICES, *WATCHERS)
    for role, url in (("bus", site.bus_url), ("state", site.state_url)):
        roles = set(Server) if shared else {Server(role)}
        found += await _asked(
            lambda url=url, role=role, roles=roles: _look_at_server(role, url, roles, users), role=role
        )
        if shared:
            break
    return found + await _asked(lambda: _look_at_streams(site), role="bus", quiet=True)


async def _look_at_server(role: str, url: str, roles: Collection[Server], users: Collection[str]) -> Iterable[Finding]:
    found = list(servers.judge_server(role, await survey(url)))
    return [*found, *servers.judge_access(role, await survey_users(url, users, roles))]


async def _look_at_streams(site: Site) -> Iterable[Finding]:
    async with Operator(site.bus_url, site.state_url) as operator:
        reports = await operator.streams()
    processes = await survey_processes(site.bus_url)
    return list(streams.judge_streams(reports, [*fixed_streams(), *lane_streams(site.pools)], processes))


async def _asked(look: Callable[[], Awaitable[Iterable[Finding]]], *, role: str, quiet: bool = False) -> list[Finding]:
    """Return what was found; a server that cannot be asked is a finding, told once."""
    try:
        return list(await look())
    except BusError as error:
        return [] if quiet else [servers.away(role, error)]


async def _look_at_blobs(site: Site) -> list[Finding]:
    if not site.blobs_url:
        return [skipped("blobs", "no address is known", "set ARCHIVE_BLOBS_URL")]
    # A data folder has been looked at, and its blobs with it.
    volume = [] if site.home else list(_volume_of(site.blobs_url))
    try:
        await open_blobs(site.blobs_url).check()
    except BlobError as error:
        return [*volume, failure("blobs", error.message, error.next_step)]
    return [*volume, ok("blobs", f"{site.blobs_url.partition('?')[0]} can be written")]


def _volume_of(url: str) -> Iterator[Finding]:
    """Judge the volume of blobs that are files; one that is not there is found by writing to it."""
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    if parts.scheme == "file" and path.is_dir():
        usage = shutil.disk_usage(path)
        yield machine.judge_disk(str(path), free=usage.free, total=usage.total)


def _look_at_processes(site: Site) -> Iterable[Finding]:
    if site.run is None:
        return ()
    from archive_cli.status import ask_processes

    told = ask_processes(site.run)
    return machine.judge_processes(told, version=site.run.version, own_version=__version__)


def _look_at_engines(site: Site, *, key: str) -> Iterable[Finding]:
    if not site.gateway_url:
        return [skipped("engines", "the gateway's address is not known", "set ARCHIVE_URL")]
    from archive_cli.gateway import Gateway

    try:
        with Gateway(site.gateway_url, key=key, timeout_s=5.0) as gateway:
            found = list(gateway.get("/v1/engines").get("engines", []))
    except CliError as error:
        return [failure("engines", f"the gateway at {site.gateway_url}: {error.message}", error.next_step)]
    return machine.judge_engines(found, site.pools)


def site_of(home: Home, *, env: Mapping[str, str], url: str, pools: str) -> Site:
    """Return what to look at: what the variables name, else what runs on the data folder."""
    run = home.read_run() if home.running else None
    bus_url = env.get("ARCHIVE_BUS_URL", "")
    everywhere = bool(bus_url) and run is None
    blobs = env.get("ARCHIVE_BLOBS_URL") or (run.blobs_url if run else "")
    return Site(
        bus_url=bus_url or (run.bus_url if run else ""),
        state_url=env.get("ARCHIVE_STATE_URL") or bus_url or (run.state_url if run else ""),
        blobs_url=blobs or ("" if everywhere else Path(home.path / "blobs").as_uri()),
        gateway_url=url or env.get("ARCHIVE_URL", "") or (run.url if run else ""),
        pools=_wanted(pools, run),
        home=None if everywhere else home,
        run=run,
    )


def _wanted(pools: str, run: RunInfo | None) -> tuple[str, ...]:
    """Return the pools that need an engine: those named, else the built-in ones, the small one where its model runs."""
    if pools:
        return tuple(pools.split())
    without_model = run is not None and all(process.name != MODEL for process in run.processes)
    return ("embed",) if without_model else ("embed", BUNDLED_POOL)
