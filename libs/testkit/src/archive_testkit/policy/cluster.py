"""What the rules look at: all rendered objects, and the workloads among them."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
Rule = Callable[["Cluster"], Iterator[str]]
WORKLOADS = ("Deployment", "StatefulSet", "Job", "DaemonSet")
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


def variables(container: Json) -> list[str]:
    """Return the names of the variables of a container."""
    return [variable["name"] for variable in container.get("env", ())]


def values(container: Json) -> dict[str, str]:
    """Return the variables of a container whose values are written there."""
    return {variable["name"]: variable["value"] for variable in container.get("env", ()) if "value" in variable}
