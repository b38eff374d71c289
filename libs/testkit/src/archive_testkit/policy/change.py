"""Starting, stopping, updating and draining nodes while others go on."""

import re
from collections.abc import Iterator, Mapping

from archive_testkit.policy.cluster import PROBES, Cluster, values, variables


def drains_fit_the_grace(cluster: Cluster) -> Iterator[str]:
    """A pause before the stop is shorter than the grace, which is longer than the drain of the process."""
    for workload in cluster.workloads:
        grace = workload.pod.get("terminationGracePeriodSeconds", 30)
        for container in workload.containers:
            words = " ".join(container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ()))
            pause = max((int(number) for number in re.findall(r"sleep\D*(\d+)", words)), default=0)
            drain = float(values(container).get("ARCHIVE_GRACE_S", "20"))
            drains = pause or "ARCHIVE_BUS_URL" in variables(container)
            if drains and pause + drain >= grace and workload.kind != "Job":
                yield f"{workload}: {pause} s before the stop and {drain:g} s of draining do not fit into {grace} s"


def budgets_are_clear(cluster: Cluster) -> Iterator[str]:
    """A budget has one bound; every workload that stays has one."""
    covered: list[Mapping[str, str]] = []
    for found in cluster.of("PodDisruptionBudget"):
        if len({"minAvailable", "maxUnavailable"} & found["spec"].keys()) != 1:
            yield f"PodDisruptionBudget {found['metadata']['name']}: exactly one of min and max"
        if found["spec"].get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
            yield f"PodDisruptionBudget {found['metadata']['name']}: a pod that is not ready would hold up its node"
        covered.append(found["spec"]["selector"]["matchLabels"])
    for workload in cluster.workloads:
        if workload.kind != "Job" and not any(chosen.items() <= workload.labels.items() for chosen in covered):
            yield f"{workload}: no disruption budget"


def pods_are_spread(cluster: Cluster) -> Iterator[str]:
    """Pods of a workload that has several stand on several hosts and in several zones."""
    for workload in cluster.workloads:
        if workload.kind == "Job" or workload.spec.get("replicas") == 1:
            continue
        spread = {constraint["topologyKey"] for constraint in workload.pod.get("topologySpreadConstraints", ())}
        missing = {"kubernetes.io/hostname", "topology.kubernetes.io/zone"} - spread
        yield from (f"{workload}: is not spread over {key}" for key in sorted(missing))


def rollouts_move(cluster: Cluster) -> Iterator[str]:
    """An update that may neither add nor take away a pod stands still."""
    for workload in cluster.workloads:
        rolling = workload.spec.get("strategy", {}).get("rollingUpdate", {})
        if rolling and not any(str(rolling.get(name, 1)).strip("%") != "0" for name in ("maxSurge", "maxUnavailable")):
            yield f"{workload}: its update can never begin"


def probes_are_complete(cluster: Cluster) -> Iterator[str]:
    """Every container that stays has the three probes; liveness never asks what readiness asks of our services."""
    for workload in cluster.workloads:
        for container in () if workload.kind == "Job" else workload.pod["containers"]:
            yield from (f"{workload}: {container['name']} has no {kind}" for kind in PROBES if kind not in container)
            if container.get("livenessProbe", {}).get("httpGet", {}).get("path") == "/readyz":
                yield f"{workload}: an outage of Redis would restart {container['name']}"
