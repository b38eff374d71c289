"""What a pod may do, and whom it may reach."""

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_network

from archive_testkit.policy.cluster import Cluster, Json


def pods_are_closed(cluster: Cluster) -> Iterator[str]:
    """Pod Security ``restricted``, a read-only root, no token, no host, a user above 10000."""
    for workload in cluster.workloads:
        pod, context = workload.pod, workload.pod.get("securityContext", {})
        checks = {
            "runs as root": context.get("runAsNonRoot") is True and context.get("runAsUser", 0) > 10000,
            "no seccomp profile": context.get("seccompProfile", {}).get("type") == "RuntimeDefault",
            "mounts a token": pod.get("automountServiceAccountToken") is False,
            "has service links": pod.get("enableServiceLinks") is False,
            "shares the host": not any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")),
            "mounts the host": not any("hostPath" in volume for volume in pod.get("volumes", ())),
        }
        yield from (f"{workload}: {fault}" for fault, fine in checks.items() if not fine)
        for container in workload.containers:
            yield from (f"{workload}: {container['name']} {fault}" for fault in _open(container))


def _open(container: Json) -> Iterator[str]:
    context = container.get("securityContext", {})
    if context.get("privileged") or context.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "has a writable root"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield "keeps capabilities"
    if context.get("runAsUser", 1) == 0:
        yield "runs as root"


def namespace_is_restricted(cluster: Cluster) -> Iterator[str]:
    """The namespace enforces Pod Security, its version pinned, and denies all traffic that no policy allows."""
    for found in cluster.of("Namespace"):
        labels = found["metadata"].get("labels", {})
        if labels.get("pod-security.kubernetes.io/enforce") != "restricted":
            yield "the namespace is not restricted"
        if not re.fullmatch(r"v1\.\d+", labels.get("pod-security.kubernetes.io/enforce-version", "")):
            yield "the version of Pod Security is not pinned"
    closed = any(
        not found["spec"]["podSelector"]
        and sorted(found["spec"]["policyTypes"]) == ["Egress", "Ingress"]
        and not found["spec"].keys() & {"ingress", "egress"}
        for found in cluster.of("NetworkPolicy")
    )
    if not closed:
        yield "nothing denies traffic by default"


def tools_reach_nothing(cluster: Cluster) -> Iterator[str]:
    """No policy lets the tool runner out of the cluster, but to servers of Redis that stand elsewhere."""
    tools = {
        name: value for made in cluster.workloads if made.name == "tool-runner" for name, value in made.labels.items()
    }
    for found in cluster.of("NetworkPolicy"):
        if not _selects(found["spec"]["podSelector"], tools):
            continue
        for way in found["spec"].get("egress", ()):
            outside = not way.get("to") or any("ipBlock" in peer for peer in way["to"])
            if outside and {port.get("port") for port in way.get("ports", [{}])} != {6379}:
                yield f"NetworkPolicy {found['metadata']['name']}: lets tools out"


def ways_out_are_narrow(cluster: Cluster) -> Iterator[str]:
    """A way to addresses that spares no private network names a few hosts, and of pods those that need it.

    Every pod needs Redis. An address that is a placeholder lets nobody out until an operator replaces it.
    """
    for found in cluster.of("NetworkPolicy"):
        name = found["metadata"]["name"]
        for way in found["spec"].get("egress", ()):
            blocks: list[Json] = [peer["ipBlock"] for peer in way.get("to", ()) if "ipBlock" in peer]
            wide = [block["cidr"] for block in blocks if not _is_narrow(block)]
            yield from (f"NetworkPolicy {name}: opens all of {cidr}" for cidr in wide)
            ports = {port.get("port") for port in way.get("ports", [{}])}
            if blocks and ports != {6379} and not _names_pods(found["spec"]["podSelector"]):
                yield f"NetworkPolicy {name}: lets pods out that it does not name"


def _is_narrow(block: Json) -> bool:
    spared = {"10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"} <= set(block.get("except", ()))
    return spared or ip_network(block["cidr"]).prefixlen >= 24


def _names_pods(selector: Json) -> bool:
    key = "app.kubernetes.io/name"
    expressions: list[Json] = selector.get("matchExpressions", [])
    return key in selector.get("matchLabels", {}) or any(
        one["key"] == key and one["operator"] == "In" for one in expressions
    )


def _selects(selector: Json, labels: Mapping[str, str]) -> bool:
    listed = {"In": True, "NotIn": False}
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        (labels.get(one["key"]) in one["values"]) is listed[one["operator"]]
        for one in selector.get("matchExpressions", ())
    )


def images_are_pinned(cluster: Cluster) -> Iterator[str]:
    """An image without a tag, or with ``latest``, changes under a running deployment."""
    for workload in cluster.workloads:
        for container in workload.containers:
            tail = container["image"].rpartition("/")[2]
            if "@sha256:" not in container["image"] and (":" not in tail or tail.endswith(":latest")):
                yield f"{workload}: {container['image']} has no version"
