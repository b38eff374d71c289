"""How many workers a backlog asks for: one KEDA ScaledObject for each Deployment that works on streams.

Every input gives two triggers, since lag does not count what was read and is not settled, nor pending what is unread.
KEDA takes strings only. A group that was created at ``$`` has no lag and would never wake anything up: the bootstrap
Job creates all of them at 0. The operator of KEDA asks from its own namespace, where a short name means another server.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from archive_contracts.deploy.yaml import Json
from archive_contracts.streams import STREAMS, Kind, Stream


@dataclass(frozen=True, slots=True)
class Worker:
    """A Deployment that works on streams: its service, the lane it pulls from, and its bounds.

    ``each`` is how many waiting messages keep one replica busy.
    """

    name: str
    service: str
    each: int
    most: int
    least: int = 1
    pool: str = ""


ADDRESS = "redis-bus.archive.svc:6379"
WORKERS = (
    Worker("router", "router", each=200, most=6),
    Worker("librarian", "librarian", each=5, most=8),
    Worker("agent", "agent", each=12, most=8),
    Worker("tool-runner", "tool-runner", each=8, most=8),
    Worker("engine-embed", "engine", each=8, most=4, pool="embed"),
    Worker("engine-small", "engine", each=4, most=4, pool="small"),
)
GPU_WORKERS = (Worker("engine-large", "engine", each=16, most=8, least=0, pool="large"),)
"""Workers beside a model on a GPU: they may go down to nothing."""


def scaled_object(worker: Worker) -> Json:
    """Return the ScaledObject of a worker."""
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": worker.name},
        "spec": {
            "scaleTargetRef": {"name": worker.name},
            "minReplicaCount": worker.least,
            "maxReplicaCount": worker.most,
            "pollingInterval": 5,
            "cooldownPeriod": 300,
            "triggers": [trigger for key, group in _inputs(worker) for trigger in _triggers(worker, key, group)],
        },
    }


def _inputs(worker: Worker) -> Iterator[tuple[str, str]]:
    for stream in STREAMS.values():
        if worker.service in stream.consumers:
            yield from ((key, worker.service) for key in _physical(stream, worker.pool))


def _physical(stream: Stream, pool: str) -> list[str]:
    if stream.kind is Kind.LANE:
        return [stream.physical(pool)]
    return [stream.physical(number) for number in range(stream.partitions)]


def _triggers(worker: Worker, key: str, group: str) -> list[Json]:
    common = {"address": ADDRESS, "stream": key, "consumerGroup": group}
    by_lag = common | {"lagCount": str(worker.each), "activationLagCount": "0"}
    by_pending = common | {"pendingEntriesCount": str(worker.each)}
    reference = {"name": "keda-redis"}
    return [
        {"type": "redis-streams", "metadata": metadata, "authenticationRef": reference}
        for metadata in (by_lag, by_pending)
    ]


def authentication() -> Json:
    """Return where KEDA finds its own, read-only credential."""
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "TriggerAuthentication",
        "metadata": {"name": "keda-redis"},
        "spec": {
            "secretTargetRef": [
                {"parameter": name, "name": "archive-keda", "key": name} for name in ("username", "password")
            ]
        },
    }
