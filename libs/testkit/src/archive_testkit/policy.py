"""Rules over rendered Kubernetes manifests that schemas do not hold. Each yields what is wrong, in words."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

Json = dict[str, Any]
Rule = Callable[["Cluster"], Iterator[str]]

WORKLOADS = ("Deployment", "StatefulSet", "Job", "DaemonSet")
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
STREAM_TRIGGER = frozenset(
    "address stream consumerGroup lagCount activationLagCount pendingEntriesCount databaseIndex enableTLS "
    "streamLength".split()
)
DOCUMENT = 200 * 2**20
"""Bytes of the largest upload and download, as the services' settings have it."""
DOCUMENTS = {"librarian": 5, "console": 5}
"""How many a pod keeps in /tmp: the librarian's are under way, the console draws pages of the latest."""
SPOOLED = {"gateway": 2, "console": 2}
"""How many more lie there until a store takes them that is no folder: two uploads at once, at the least."""
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_FACTOR = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


@dataclass(frozen=True, slots=True)
class Workload:
    """A controller and the pod it makes."""

    kind: str
    name: str
    spec: Json
    labels: Mapping[str, str]
    pod: Json

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def containers(self) -> list[Json]:
        """Return all containers, those that run before the others included."""
        return [*self.pod.get("initContainers", ()), *self.pod["containers"]]


@dataclass(frozen=True, slots=True)
class Cluster:
    """All rendered objects."""

    objects: Sequence[Json]

    def of(self, *kinds: str) -> Iterator[Json]:
        """Yield the objects of some kinds."""
        return (found for found in self.objects if found["kind"] in kinds)

    @property
    def workloads(self) -> list[Workload]:
        """Return what makes pods."""
        return [
            Workload(
                kind=found["kind"],
                name=found["metadata"]["name"],
                spec=found["spec"],
                labels=found["spec"]["template"]["metadata"]["labels"],
                pod=found["spec"]["template"]["spec"],
            )
            for found in self.of(*WORKLOADS)
        ]

    def names(self, kind: str) -> set[str]:
        """Return the names of one kind."""
        return {found["metadata"]["name"] for found in self.of(kind)}


def amount(text: str) -> float:
    """Return a quantity as a number. Raises ValueError for what is none, such as ``256MB``."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no quantity")
    return float(match[1]) * _FACTOR[match[2] or ""]


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


def resources_fit(cluster: Cluster) -> Iterator[str]:
    """Requests and limits are there, are quantities, and requests are no larger than limits."""
    for workload in cluster.workloads:
        for container in workload.containers:
            asked, most = (container.get("resources", {}).get(part, {}) for part in ("requests", "limits"))
            if not {"cpu", "memory"} <= asked.keys() & most.keys():
                yield f"{workload}: {container['name']} has no requests and limits for cpu and memory"
            try:
                larger = [name for name in asked if name in most and amount(asked[name]) > amount(most[name])]
            except ValueError as error:
                yield f"{workload}: {error}"
                continue
            yield from (f"{workload}: asks for more {name} than its limit" for name in larger)


def drains_fit_the_grace(cluster: Cluster) -> Iterator[str]:
    """A pause before the stop is shorter than the grace, which is longer than the drain of the process."""
    for workload in cluster.workloads:
        grace = workload.pod.get("terminationGracePeriodSeconds", 30)
        for container in workload.containers:
            words = " ".join(container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ()))
            pause = max((int(number) for number in re.findall(r"sleep\D*(\d+)", words)), default=0)
            if pause + 20 >= grace and (pause or "ARCHIVE_BUS_URL" in _variables(container)) and workload.kind != "Job":
                yield f"{workload}: {pause} s before the stop and 20 s of draining do not fit into {grace} s"


def _variables(container: Json) -> list[str]:
    return [variable["name"] for variable in container.get("env", ())]


def variables_are_unique(cluster: Cluster) -> Iterator[str]:
    """Of two variables of one name the last wins without a word."""
    for workload in cluster.workloads:
        for container in workload.containers:
            counts = Counter(_variables(container))
            yield from (f"{workload}: {name} is set twice" for name, count in counts.items() if count > 1)


def versions_exist(cluster: Cluster) -> Iterator[str]:
    """No object is of a removed version."""
    for found in cluster.objects:
        if found["apiVersion"] in REMOVED:
            yield f"{found['kind']} {found['metadata']['name']}: {found['apiVersion']} was removed"


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


def probes_are_complete(cluster: Cluster) -> Iterator[str]:
    """Every container that stays has the three probes; liveness never asks what readiness asks of our services."""
    for workload in cluster.workloads:
        for container in () if workload.kind == "Job" else workload.pod["containers"]:
            yield from (f"{workload}: {container['name']} has no {kind}" for kind in PROBES if kind not in container)
            if container.get("livenessProbe", {}).get("httpGet", {}).get("path") == "/readyz":
                yield f"{workload}: an outage of Redis would restart {container['name']}"


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


def documents_fit(cluster: Cluster) -> Iterator[str]:
    """A pod that puts more into its temporary folder than the folder's limit is evicted, with all that it does."""
    settings = {found["metadata"]["name"]: found.get("data", {}) for found in cluster.of("ConfigMap")}
    in_folder = settings.get("archive", {}).get("ARCHIVE_BLOBS_URL", "").startswith("file:")
    for workload in cluster.workloads:
        number = DOCUMENTS.get(workload.name, 0) + (0 if in_folder else SPOOLED.get(workload.name, 0))
        limits = [one["emptyDir"]["sizeLimit"] for one in workload.pod.get("volumes", ()) if one["name"] == "tmp"]
        if number and (len(limits) != 1 or amount(limits[0]) < number * DOCUMENT):
            yield f"{workload}: {number} documents do not fit into /tmp of {limits}"


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


def gpus_are_whole(cluster: Cluster) -> Iterator[str]:
    """A pod with a GPU asks for as many as its limit, tolerates the node's taint, and never doubles for an update."""
    for workload in cluster.workloads:
        for container in workload.containers:
            asked, most = (
                container["resources"].get(part, {}).get("nvidia.com/gpu") for part in ("requests", "limits")
            )
            if asked != most:
                yield f"{workload}: asks for {asked} of {most} GPUs"
            if most and not any(item.get("key") == "nvidia.com/gpu" for item in workload.pod.get("tolerations", ())):
                yield f"{workload}: does not tolerate GPU nodes"
            if most and workload.spec.get("strategy", {}).get("rollingUpdate", {}).get("maxSurge") != 0:
                yield f"{workload}: an update would ask for a second GPU"


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


def sleeping_pools_are_known(cluster: Cluster) -> Iterator[str]:
    """The router refuses a model without a living worker, unless it is told that the pool may be at zero.

    Without that nobody would ever put a job on the lane, and the pool would sleep for ever.
    """
    told = " ".join(found.get("data", {}).get("engines.yaml", "") for found in cluster.of("ConfigMap"))
    reads = any(
        "ROUTER_ENGINES_FILE" in _variables(container) for made in cluster.workloads for container in made.containers
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


RULES: tuple[Rule, ...] = (
    known_fields,
    ports_are_numbers,
    selectors_match,
    mounts_have_volumes,
    resources_fit,
    drains_fit_the_grace,
    variables_are_unique,
    versions_exist,
    budgets_are_clear,
    pods_are_spread,
    rollouts_move,
    triggers_are_strings,
    one_scaler_each,
    pods_are_closed,
    accounts_exist,
    named_ports_are_defined,
    probes_are_complete,
    classes_exist,
    namespace_is_restricted,
    tools_reach_nothing,
    ways_out_are_narrow,
    documents_fit,
    images_are_pinned,
    gpus_are_whole,
    claims_are_made,
    sleeping_pools_are_known,
)
