"""One scaler for each target, whose triggers KEDA understands."""

import re
from collections import Counter
from collections.abc import Iterator

from archive_testkit.policy.cluster import Cluster, variables

STREAM_TRIGGER = frozenset(
    "address stream consumerGroup lagCount activationLagCount pendingEntriesCount databaseIndex enableTLS "
    "streamLength".split()
)


def triggers_are_strings(cluster: Cluster) -> Iterator[str]:
    """KEDA refuses numbers, ignores unknown keys, scales what is there, and looks names up in its own namespace."""
    targets = {workload.name for workload in cluster.workloads}
    for found in cluster.of("ScaledObject"):
        name, spec = found["metadata"]["name"], found["spec"]
        if spec["scaleTargetRef"]["name"] not in targets:
            yield f"ScaledObject {name}: there is no {spec['scaleTargetRef']['name']}"
        kinds: set[str] = set()
        for trigger in spec["triggers"]:
            for key, value in trigger["metadata"].items():
                if not isinstance(value, str):
                    yield f"ScaledObject {name}: {key} is no string"
                if key not in STREAM_TRIGGER:
                    yield f"ScaledObject {name}: unknown {key}"
            if not re.fullmatch(r"[\w-]+\.[\w.-]+:\d+", trigger["metadata"]["address"]):
                yield f"ScaledObject {name}: KEDA cannot find {trigger['metadata']['address']}, which has no namespace"
            kinds |= trigger["metadata"].keys() & {"lagCount", "pendingEntriesCount"}
        if len(kinds) != 2:
            yield f"ScaledObject {name}: needs triggers for lag and for pending"


def one_scaler_each(cluster: Cluster) -> Iterator[str]:
    """Two scalers of one target fight, and a number in the manifest fights both."""
    objects = [*cluster.of("HorizontalPodAutoscaler", "ScaledObject")]
    counts = Counter(found["spec"]["scaleTargetRef"]["name"] for found in objects)
    yield from (f"{name}: {count} scalers" for name, count in counts.items() if count > 1)
    for workload in cluster.workloads:
        if workload.name in counts and "replicas" in workload.spec:
            yield f"{workload}: its number is set and scaled"


def sleeping_pools_are_known(cluster: Cluster) -> Iterator[str]:
    """The router refuses a model without a living worker, unless it is told that the pool may be at zero.

    Without that nobody would ever put a job on the lane, and the pool would sleep for ever.
    """
    told = " ".join(found.get("data", {}).get("engines.yaml", "") for found in cluster.of("ConfigMap"))
    reads = any(
        "ROUTER_ENGINES_FILE" in variables(container) for made in cluster.workloads for container in made.containers
    )
    asleep = {
        found["spec"]["scaleTargetRef"]["name"]
        for found in cluster.of("ScaledObject")
        if found["spec"].get("minReplicaCount") == 0
    }
    for workload in cluster.workloads:
        for container in workload.containers if workload.name in asleep else ():
            pool = next((one["value"] for one in container.get("env", ()) if one["name"] == "ENGINE_POOL"), "")
            if pool and not (reads and re.search(rf"\b{pool}: \{{scale_to_zero: true", told)):
                yield f"{workload}: the router does not know that {pool} may be at zero"
