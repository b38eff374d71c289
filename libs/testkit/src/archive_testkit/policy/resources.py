"""Processors, memory, disk and GPUs: what a pod asks for fits what it may have and what it does."""

from collections.abc import Iterator

from archive_testkit.policy.cluster import Cluster, Workload, amount

DOCUMENT = 200 * 2**20
"""Bytes of the largest upload and download, as the services' settings have it."""
DOCUMENTS = {"librarian": 5, "console": 5}
"""How many a pod keeps in /tmp: the librarian's are under way, the console draws pages of the latest."""
SPOOLED = {"gateway": 2, "console": 2}
"""How many more lie there until a store takes them that is no folder: two uploads at once, at the least."""

REWRITING, EVICTING = 4 / 3, 1.5
"""Memory of a server over its `maxmemory` while it writes its file anew beside its work, the second for one that takes
more by evicting: full and given 40,000 entries a second, a state server of 512 MB took 705 MiB, one of 768 MB 1,032."""
FILES = 3
"""Bytes on disk over `maxmemory`: the old file, what has come since, and the new one."""


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


def documents_fit(cluster: Cluster) -> Iterator[str]:
    """A pod that puts more into its temporary folder than the folder's limit is evicted, with all that it does."""
    settings = {found["metadata"]["name"]: found.get("data", {}) for found in cluster.of("ConfigMap")}
    in_folder = settings.get("archive", {}).get("ARCHIVE_BLOBS_URL", "").startswith("file:")
    for workload in cluster.workloads:
        number = DOCUMENTS.get(workload.name, 0) + (0 if in_folder else SPOOLED.get(workload.name, 0))
        limits = [one["emptyDir"]["sizeLimit"] for one in workload.pod.get("volumes", ()) if one["name"] == "tmp"]
        if number and (len(limits) != 1 or amount(limits[0]) < number * DOCUMENT):
            yield f"{workload}: {number} documents do not fit into /tmp of {limits}"


def servers_have_room(cluster: Cluster) -> Iterator[str]:
    """A server has memory and disk for writing its file anew, else it is killed or evicted when it is full."""
    texts = {
        found["metadata"]["name"]: found.get("data", {}).get("valkey.conf", "") for found in cluster.of("ConfigMap")
    }
    for workload in cluster.workloads:
        named = {one.get("configMap", {}).get("name") for one in workload.pod.get("volumes", ())}
        for text in (texts[name] for name in named & texts.keys() if texts[name]):
            told = dict(line.strip().split(" ", 1) for line in text.splitlines() if line and line[0] != "#")
            full = amount(told["maxmemory"].removesuffix("mb") + "Mi")
            factor = REWRITING if told["maxmemory-policy"] == "noeviction" else EVICTING
            if told["appendonly"] != "yes":
                yield f"{workload}: what it holds dies with the server"
            for container in workload.pod["containers"]:
                if amount(container["resources"]["limits"]["memory"]) < factor * full:
                    yield f"{workload}: no memory for writing its file anew"
            if any(size < FILES * full for size in _data(workload)):
                yield f"{workload}: no disk for writing its file anew"


def _data(workload: Workload) -> Iterator[float]:
    for volume in workload.pod.get("volumes", ()):
        if volume["name"] == "data" and "emptyDir" in volume:
            yield amount(volume["emptyDir"]["sizeLimit"])
    for claim in workload.spec.get("volumeClaimTemplates", ()):
        yield amount(claim["spec"]["resources"]["requests"]["storage"])


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
