"""What the Redis exporter is told: which streams to look at, and to leave out what its user may not ask."""

from collections.abc import Iterator

from archive_contracts.deploy.scaling import GPU_WORKERS, WORKERS
from archive_contracts.deploy.yaml import HEADER, Json
from archive_contracts.streams import STREAMS, Kind, Server

NAME = "archive-exporter"


def settings() -> dict[str, str]:
    """Return the exporter's variables.

    Streams are named one by one: a pattern would make it search the whole server, and ask about keys that are none.
    """
    return {
        "REDIS_EXPORTER_CHECK_SINGLE_STREAMS": ",".join(_keys()),
        "REDIS_EXPORTER_STREAMS_EXCLUDE_CONSUMER_METRICS": "true",
        "REDIS_EXPORTER_EXCLUDE_LATENCY_HISTOGRAM_METRICS": "true",
        "REDIS_EXPORTER_EXPORT_CLIENT_LIST": "false",
        # There is no such command, and none is asked for.
        "REDIS_EXPORTER_CONFIG_COMMAND": "-",
    }


def _keys() -> Iterator[str]:
    """Yield what the bootstrap creates: every stream of the bus that has a group."""
    pools = sorted({worker.pool for worker in (*WORKERS, *GPU_WORKERS) if worker.pool})
    for stream in STREAMS.values():
        if not stream.consumers or stream.server is not Server.BUS:
            continue
        if stream.kind is Kind.LANE:
            yield from (stream.physical(pool) for pool in pools)
        else:
            yield from (stream.physical(number) for number in range(stream.partitions))


def environment() -> str:
    """Return the settings as a file of variables, as compose takes it."""
    return HEADER + "".join(f"{name}={value}\n" for name, value in settings().items())


def config_map() -> Json:
    """Return the settings as Kubernetes takes them."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": settings()}
