"""Whatever an object calls by its name has to be there."""

from collections import Counter
from collections.abc import Iterator

from archive_testkit.policy.cluster import PROBES, Cluster, Json


def selectors_match(cluster: Cluster) -> Iterator[str]:
    """A controller selects its own pods; a Service and a budget select some."""
    made = [workload.labels for workload in cluster.workloads]
    for workload in cluster.workloads:
        wanted = workload.spec.get("selector", {}).get("matchLabels", {})
        if not wanted.items() <= workload.labels.items():
            yield f"{workload}: selects other pods than it makes"
    for found in cluster.of("Service", "PodDisruptionBudget"):
        if found["spec"].get("type") == "ExternalName":
            continue
        chosen = found["spec"]["selector"]
        wanted = chosen.get("matchLabels", chosen)
        if not any(wanted.items() <= labels.items() for labels in made):
            yield f"{found['kind']} {found['metadata']['name']}: selects no pod"


def mounts_have_volumes(cluster: Cluster) -> Iterator[str]:
    """Every mount names a volume of its pod."""
    for workload in cluster.workloads:
        volumes = {volume["name"] for volume in workload.pod.get("volumes", ())}
        volumes |= {claim["metadata"]["name"] for claim in workload.spec.get("volumeClaimTemplates", ())}
        for mount in (mount for container in workload.containers for mount in container.get("volumeMounts", ())):
            if mount["name"] not in volumes:
                yield f"{workload}: no volume {mount['name']}"


def accounts_exist(cluster: Cluster) -> Iterator[str]:
    """Every pod has an account of its own, and it is there."""
    known = cluster.names("ServiceAccount")
    used = Counter(workload.pod.get("serviceAccountName", "default") for workload in cluster.workloads)
    yield from (f"there is no ServiceAccount {name}" for name in used if name not in known)
    yield from (f"{count} workloads share the ServiceAccount {name}" for name, count in used.items() if count > 1)


def named_ports_are_defined(cluster: Cluster) -> Iterator[str]:
    """Probes and Services ask ports that somebody listens on."""
    for workload in cluster.workloads:
        for container in workload.containers:
            names = {port.get("name") for port in container.get("ports", ())}
            for probe in (container[kind] for kind in PROBES if kind in container):
                asked: Json = probe.get("httpGet") or probe.get("tcpSocket") or {}
                port: object = asked.get("port")
                if isinstance(port, str) and port not in names:
                    yield f"{workload}: a probe asks port {port}, which is not defined"
    for service in cluster.of("Service"):
        if service["spec"].get("type") == "ExternalName":
            continue
        chosen = service["spec"]["selector"]
        listening = {
            port.get("name")
            for workload in cluster.workloads
            if chosen.items() <= workload.labels.items()
            for container in workload.containers
            for port in container.get("ports", ())
        }
        targets = [exposed["targetPort"] for exposed in service["spec"]["ports"]]
        name = service["metadata"]["name"]
        yield from (f"Service {name}: nobody listens on {target}" for target in targets if target not in listening)


def classes_exist(cluster: Cluster) -> Iterator[str]:
    """A priority class, a claim and a map of settings that are named are there."""
    known = cluster.names("PriorityClass")
    for workload in cluster.workloads:
        chosen = workload.pod.get("priorityClassName")
        if chosen and chosen not in known:
            yield f"{workload}: there is no PriorityClass {chosen}"
        for volume in workload.pod.get("volumes", ()):
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            if claim and claim not in cluster.names("PersistentVolumeClaim"):
                yield f"{workload}: there is no claim {claim}"
            settings = volume.get("configMap", {}).get("name")
            if settings and settings not in cluster.names("ConfigMap"):
                yield f"{workload}: there is no ConfigMap {settings}"


def claims_are_made(cluster: Cluster) -> Iterator[str]:
    """A claim of devices is made from a template that exists, and used under its name in the pod."""
    templates = cluster.names("ResourceClaimTemplate")
    for workload in cluster.workloads:
        made = {
            claim["name"]: claim.get("resourceClaimTemplateName") for claim in workload.pod.get("resourceClaims", ())
        }
        yield from (f"{workload}: there is no claim template {name}" for name in made.values() if name not in templates)
        for container in workload.containers:
            used = {claim["name"] for claim in container["resources"].get("claims", ())}
            yield from (f"{workload}: no claim is called {name}" for name in used - made.keys())
