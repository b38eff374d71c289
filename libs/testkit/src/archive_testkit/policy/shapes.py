"""What an API server would drop, or take otherwise than it was meant, without a word."""

from collections import Counter
from collections.abc import Iterator

from archive_testkit.policy.cluster import Cluster, variables

REMOVED = {
    "policy/v1beta1",
    "autoscaling/v2beta1",
    "autoscaling/v2beta2",
    "batch/v1beta1",
    "networking.k8s.io/v1beta1",
    "extensions/v1beta1",
}
POD_FIELDS = frozenset(
    "affinity automountServiceAccountToken containers dnsConfig dnsPolicy enableServiceLinks hostNetwork hostPID "
    "hostIPC imagePullSecrets initContainers nodeSelector priorityClassName resourceClaims restartPolicy "
    "runtimeClassName securityContext serviceAccountName terminationGracePeriodSeconds tolerations "
    "topologySpreadConstraints volumes".split()
)
CONTAINER_FIELDS = frozenset(
    "args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports readinessProbe resources "
    "restartPolicy securityContext startupProbe volumeMounts workingDir".split()
)


def known_fields(cluster: Cluster) -> Iterator[str]:
    """A misspelt field is dropped without a word."""
    for workload in cluster.workloads:
        yield from (f"{workload}: unknown pod field {name}" for name in workload.pod if name not in POD_FIELDS)
        for container in workload.containers:
            strange = [name for name in container if name not in CONTAINER_FIELDS]
            yield from (f"{workload}: unknown container field {name}" for name in strange)


def ports_are_numbers(cluster: Cluster) -> Iterator[str]:
    """A port is a number, and its name has at most 15 characters."""
    for workload in cluster.workloads:
        for port in (port for container in workload.containers for port in container.get("ports", ())):
            if not isinstance(port["containerPort"], int):
                yield f"{workload}: port {port['containerPort']!r} is no number"
            if len(port.get("name", "")) > 15:
                yield f"{workload}: port name {port['name']} is longer than 15"


def variables_are_unique(cluster: Cluster) -> Iterator[str]:
    """Of two variables of one name the last wins without a word."""
    for workload in cluster.workloads:
        for container in workload.containers:
            counts = Counter(variables(container))
            yield from (f"{workload}: {name} is set twice" for name, count in counts.items() if count > 1)


def versions_exist(cluster: Cluster) -> Iterator[str]:
    """No object is of a removed version."""
    for found in cluster.objects:
        if found["apiVersion"] in REMOVED:
            yield f"{found['kind']} {found['metadata']['name']}: {found['apiVersion']} was removed"
