"""The rendered manifests keep the rules, each rule finds its mutant, and what is generated is committed."""

import copy
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from archive_cli.__main__ import build_parser
from archive_cli.valkey import Role, new_server
from archive_console.adapters.pages import FILES
from archive_console.settings import Settings as Console
from archive_contracts.deploy.__main__ import generated
from archive_contracts.streams import SERVICES
from archive_gateway.settings import Settings as Gateway
from archive_librarian.settings import Settings as Librarian
from archive_testkit.policy import RULES, change, closure, references, resources, scaling, shapes
from archive_testkit.policy.cluster import Cluster, Json, Rule
from archive_testkit.policy.resources import DOCUMENT, DOCUMENTS

ROOT = Path(__file__).parents[2]
OTHERS = {
    "external": ("redis-external", "engine-host", "gpu-dra", "gvisor", "s3-blobs"),
    "sentinel": ("redis-sentinel",),
}
"""Components that no committed overlay takes: the first in place of prod-gpu's servers, the rest after its others."""
OVERLAYS = ("dev", "prod", "prod-gpu", *OTHERS)
Mutation = Callable[[list[Json]], Any]
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""An overlay has 5,000 lines; libyaml, where it is, reads them in a tenth of the time."""

# In one worker each overlay is rendered once.
pytestmark = pytest.mark.xdist_group("manifests")


@cache
def rendered(overlay: str) -> list[Json]:
    if (kubectl := shutil.which("kubectl")) is None:
        pytest.skip("kubectl is not installed, which renders the overlays")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) if overlay in OTHERS else ROOT / "k8s" / "overlays" / overlay
        if overlay in OTHERS:
            write_other(folder, *OTHERS[overlay])
        done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [found for found in yaml.load_all(done.stdout, Loader=LOADER) if found]


def write_other(folder: Path, servers: str, *more: str) -> None:
    """Write an overlay as an operator with other servers would."""
    gpu = ROOT / "k8s" / "overlays" / "prod-gpu"
    told: Json = yaml.safe_load((gpu / "kustomization.yaml").read_text())
    names = [Path(name).name for name in told["components"] if Path(name).name != "redis"]
    # kustomize compares real paths, and refuses absolute ones.
    base = Path(os.path.relpath(ROOT / "k8s", folder.resolve()))
    told["resources"] = [str(base / "base")]
    told["components"] = [str(base / "components" / name) for name in (servers, *names, *more)]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(told))


def the(objects: list[Json], kind: str, name: str) -> Json:
    return next(found for found in objects if found["kind"] == kind and found["metadata"]["name"] == name)


def pod(objects: list[Json], name: str = "router") -> Json:
    kind = "StatefulSet" if name == "memory" else "Deployment"
    return the(objects, kind, name)["spec"]["template"]["spec"]


def first(objects: list[Json], name: str = "router") -> Json:
    return pod(objects, name)["containers"][0]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlay_keeps_the_rule(overlay: str, rule: Rule) -> None:
    assert list(rule(Cluster(rendered(overlay)))) == []


NOBODY = {"key": "app.kubernetes.io/name", "operator": "NotIn", "values": ["nobody"]}
MUTANTS: dict[str, tuple[Rule, Mutation]] = {
    "misspelt pod field": (shapes.known_fields, lambda o: pod(o).update(teminationGracePeriodSeconds=3)),
    "misspelt container field": (shapes.known_fields, lambda o: first(o).update(livenesProbe={})),
    "string port": (shapes.ports_are_numbers, lambda o: first(o)["ports"][0].update(containerPort="9000")),
    "long port name": (shapes.ports_are_numbers, lambda o: first(o)["ports"][0].update(name="a-port-named-too-long")),
    "selector": (
        references.selectors_match,
        lambda o: the(o, "Deployment", "router")["spec"]["selector"].update(matchLabels={"a": "b"}),
    ),
    "service of nobody": (
        references.selectors_match,
        lambda o: the(o, "Service", "gateway")["spec"].update(selector={"a": "b"}),
    ),
    "mount without volume": (references.mounts_have_volumes, lambda o: pod(o).update(volumes=[])),
    "requests above limits": (
        resources.resources_fit,
        lambda o: first(o)["resources"]["requests"].update(memory="64Gi"),
    ),
    "256MB": (resources.resources_fit, lambda o: first(o)["resources"]["limits"].update(memory="256MB")),
    "no limits": (resources.resources_fit, lambda o: first(o)["resources"].pop("limits")),
    "short grace": (
        change.drains_fit_the_grace,
        lambda o: pod(o, "gateway").update(terminationGracePeriodSeconds=20),
    ),
    "drain of its own": (
        change.drains_fit_the_grace,
        lambda o: pod(o, "gateway").update(terminationGracePeriodSeconds=60),
    ),
    "duplicate variable": (shapes.variables_are_unique, lambda o: first(o)["env"].append(first(o)["env"][0])),
    "removed version": (
        shapes.versions_exist,
        lambda o: the(o, "PodDisruptionBudget", "router").update(apiVersion="policy/v1beta1"),
    ),
    "budget with both": (
        change.budgets_are_clear,
        lambda o: the(o, "PodDisruptionBudget", "router")["spec"].update(minAvailable=1),
    ),
    "budget that keeps a sick pod": (
        change.budgets_are_clear,
        lambda o: the(o, "PodDisruptionBudget", "router")["spec"].pop("unhealthyPodEvictionPolicy"),
    ),
    "one zone": (change.pods_are_spread, lambda o: pod(o)["topologySpreadConstraints"].pop()),
    "tools let out": (
        closure.tools_reach_nothing,
        lambda o: the(o, "NetworkPolicy", "librarian-fetch")["spec"].update(podSelector={}),
    ),
    "tools let out by name": (
        closure.tools_reach_nothing,
        lambda o: the(o, "NetworkPolicy", "librarian-fetch")["spec"].update(podSelector={"matchExpressions": [NOBODY]}),
    ),
    "private networks opened": (
        closure.ways_out_are_narrow,
        lambda o: the(o, "NetworkPolicy", "librarian-fetch")["spec"]["egress"][0]["to"][0]["ipBlock"].pop("except"),
    ),
    "all but one let out": (
        closure.ways_out_are_narrow,
        lambda o: the(o, "NetworkPolicy", "librarian-fetch")["spec"].update(podSelector={"matchExpressions": [NOBODY]}),
    ),
    "small /tmp": (
        resources.documents_fit,
        lambda o: next(one for one in pod(o, "librarian")["volumes"] if one["name"] == "tmp").update(
            emptyDir={"sizeLimit": "256Mi"}
        ),
    ),
    "uploads on their way to a store": (
        resources.documents_fit,
        lambda o: the(o, "ConfigMap", "archive")["data"].update(ARCHIVE_BLOBS_URL="s3://archive-blobs"),
    ),
    "state that dies with its server": (resources.servers_have_room, lambda o: state(o, "yes", "no")),
    "server killed at its rewrite": (resources.servers_have_room, lambda o: state(o, "512mb", "768mb")),
    "server evicted at its rewrite": (
        resources.servers_have_room,
        lambda o: the(o, "StatefulSet", "redis-state")["spec"]["template"]["spec"]["volumes"][-1].update(
            emptyDir={"sizeLimit": "1Gi"}
        ),
    ),
    "no budget": (change.budgets_are_clear, lambda o: o.remove(the(o, "PodDisruptionBudget", "router"))),
    "update 0/0": (
        change.rollouts_move,
        lambda o: the(o, "Deployment", "router")["spec"]["strategy"]["rollingUpdate"].update(maxSurge=0),
    ),
    "number in a trigger": (scaling.triggers_are_strings, lambda o: trigger(o).update(lagCount=200)),
    "unknown key in a trigger": (scaling.triggers_are_strings, lambda o: trigger(o).update(lagcount="200")),
    "short address in a trigger": (scaling.triggers_are_strings, lambda o: trigger(o).update(address="redis-bus:6379")),
    "trigger of nobody": (
        scaling.triggers_are_strings,
        lambda o: the(o, "ScaledObject", "router")["spec"]["scaleTargetRef"].update(name="ruoter"),
    ),
    "lag alone": (
        scaling.triggers_are_strings,
        lambda o: the(o, "ScaledObject", "router")["spec"].update(
            triggers=the(o, "ScaledObject", "router")["spec"]["triggers"][:1]
        ),
    ),
    "two scalers": (
        scaling.one_scaler_each,
        lambda o: the(o, "ScaledObject", "router")["spec"]["scaleTargetRef"].update(name="gateway"),
    ),
    "scaled and fixed": (scaling.one_scaler_each, lambda o: the(o, "Deployment", "router")["spec"].update(replicas=2)),
    "privileged": (closure.pods_are_closed, lambda o: first(o)["securityContext"].update(privileged=True)),
    "hostPath": (closure.pods_are_closed, lambda o: pod(o)["volumes"].append({"name": "h", "hostPath": {"path": "/"}})),
    "uid 0": (closure.pods_are_closed, lambda o: pod(o)["securityContext"].update(runAsUser=0)),
    "writable root": (closure.pods_are_closed, lambda o: first(o)["securityContext"].pop("readOnlyRootFilesystem")),
    "token": (closure.pods_are_closed, lambda o: pod(o).pop("automountServiceAccountToken")),
    "capabilities": (closure.pods_are_closed, lambda o: first(o)["securityContext"].pop("capabilities")),
    "unknown account": (references.accounts_exist, lambda o: pod(o).update(serviceAccountName="rooter")),
    "shared account": (references.accounts_exist, lambda o: pod(o).update(serviceAccountName="agent")),
    "undefined port": (
        references.named_ports_are_defined,
        lambda o: first(o)["livenessProbe"]["httpGet"].update(port="healthz"),
    ),
    "service to no port": (
        references.named_ports_are_defined,
        lambda o: the(o, "Service", "gateway")["spec"]["ports"][0].update(targetPort="web"),
    ),
    "no probe": (change.probes_are_complete, lambda o: first(o).pop("startupProbe")),
    "liveness asks Redis": (
        change.probes_are_complete,
        lambda o: first(o)["livenessProbe"]["httpGet"].update(path="/readyz"),
    ),
    "unknown class": (references.classes_exist, lambda o: pod(o).update(priorityClassName="high")),
    "unknown claim": (
        references.classes_exist,
        lambda o: o.remove(the(o, "PersistentVolumeClaim", "archive-blobs")),
    ),
    "open namespace": (
        closure.namespace_is_restricted,
        lambda o: the(o, "Namespace", "archive")["metadata"]["labels"].update(
            {"pod-security.kubernetes.io/enforce": "baseline"}
        ),
    ),
    "open network": (closure.namespace_is_restricted, lambda o: o.remove(the(o, "NetworkPolicy", "default-deny"))),
    "latest": (closure.images_are_pinned, lambda o: first(o).update(image="archive/router:latest")),
    "no tag": (closure.images_are_pinned, lambda o: first(o).update(image="archive/router")),
    "half a GPU": (
        resources.gpus_are_whole,
        lambda o: first(o, "engine-large")["resources"]["requests"].pop("nvidia.com/gpu"),
    ),
    "claim of nothing": (
        references.claims_are_made,
        lambda o: pod(o, "engine-large").update(resourceClaims=[{"name": "g", "resourceClaimTemplateName": "absent"}]),
    ),
    "pool that never wakes": (
        scaling.sleeping_pools_are_known,
        lambda o: first(o).update(env=[one for one in first(o)["env"] if one["name"] != "ROUTER_ENGINES_FILE"]),
    ),
    "no toleration": (resources.gpus_are_whole, lambda o: pod(o, "engine-large").pop("tolerations")),
}


def state(objects: list[Json], old: str, new: str) -> None:
    """Change what the state server is told."""
    told = the(objects, "ConfigMap", "redis-state")["data"]
    told["valkey.conf"] = told["valkey.conf"].replace(old, new, 1)


def trigger(objects: list[Json]) -> Json:
    return the(objects, "ScaledObject", "router")["spec"]["triggers"][0]["metadata"]


@pytest.mark.parametrize("name", MUTANTS)
def test_rule_finds_its_mutant(name: str) -> None:
    rule, mutate = MUTANTS[name]
    objects = copy.deepcopy(rendered("prod-gpu"))
    mutate(objects)
    assert list(rule(Cluster(objects)))


def test_settings_of_watched_servers_are_written_as_the_command_takes_them() -> None:
    words = {
        container["name"]: container["command"]
        for kind in ("redis-bus", "redis-sentinel")
        for container in the(rendered("sentinel"), "StatefulSet", kind)["spec"]["template"]["spec"]["initContainers"]
    }
    for name in ("place", "settings"):
        read = build_parser().parse_args(words[name][1:])
        assert read.first == "redis-bus-0.redis-bus.archive.svc.cluster.local"
        assert [place.partition(".")[0] for place in read.sentinels] == [f"redis-sentinel-{n}" for n in range(3)]


def test_documents_are_as_large_as_services_take() -> None:
    mb = (Librarian.model_fields["fetch_max_mb"], *(of.model_fields["max_upload_mb"] for of in (Console, Gateway)))
    assert {field.default * 2**20 for field in mb} == {DOCUMENT}
    assert Librarian.model_fields["documents_at_once"].default == DOCUMENTS["librarian"]
    # One more is there while it is fetched.
    assert DOCUMENTS["console"] == FILES + 1


def test_stores_are_open_to_whoever_keeps_blobs() -> None:
    objects = rendered("external")
    mounts = {made.name: {one["name"] for one in made.pod.get("volumes", ())} for made in Cluster(objects).workloads}
    blobs = {name for name, volumes in mounts.items() if "blobs" in volumes}
    (chosen,) = the(objects, "NetworkPolicy", "to-blobs")["spec"]["podSelector"]["matchExpressions"]
    assert set(chosen["values"]) == blobs - {"tool-runner"} | {"backup"}


def test_backup_runs_as_the_namespace_asks() -> None:
    objects = [*yaml.safe_load_all((ROOT / "k8s" / "backup.yaml").read_text())]
    (job,) = (made := Cluster([*objects, the(rendered("prod"), "PersistentVolumeClaim", "archive-blobs")])).workloads
    for rule in (shapes.known_fields, closure.pods_are_closed, references.accounts_exist, references.classes_exist):
        assert list(rule(made)) == []
    assert job.labels["app.kubernetes.io/part-of"] == "archive"
    (container,) = job.containers
    assert build_parser().parse_args(container["command"][1:]).parts == ["streams", "blobs"]


def test_every_rule_has_a_mutant() -> None:
    assert {rule for rule, _ in MUTANTS.values()} == set(RULES)


def taken_by(folder: Path) -> set[str]:
    """Return the components that an overlay or a component takes, and those that they take."""
    told: Json = yaml.safe_load((folder / "kustomization.yaml").read_text())
    named = {Path(name).name for name in told.get("components", ())}
    return named.union(*(taken_by(ROOT / "k8s" / "components" / name) for name in named))


def test_every_component_is_judged() -> None:
    others = {name for names in OTHERS.values() for name in names}
    ours = set[str]().union(*(taken_by(path) for path in (ROOT / "k8s" / "overlays").glob("[!.]*")))
    components = {path.name for path in (ROOT / "k8s" / "components").iterdir()}
    assert ours | others == components
    judged = set(re.findall(r"^other \S+ (.+)$", (ROOT / "k8s" / "check.sh").read_text(), re.MULTILINE))
    assert judged == {" ".join(names) for names in OTHERS.values()}


def test_readme_names_what_lets_in() -> None:
    policies = yaml.safe_load_all((ROOT / "k8s/components/network-policies/policies.yaml").read_text())
    ways = [way for each in policies for name in ("ingress", "egress") for way in each["spec"].get(name, ())]
    peers = [peer for way in ways for name in ("from", "to") for peer in way.get(name, ())]
    labels = {label for peer in peers for label in peer.get("namespaceSelector", {}).get("matchLabels", {})}
    text = (ROOT / "k8s" / "README.md").read_text()
    assert len(labels) > 2
    assert [label for label in labels if label.startswith("archive.dev/") and f"{label}=true" not in text] == []


@pytest.mark.parametrize("role", ["bus", "state"])
def test_servers_keep_what_those_of_one_machine_keep(role: Role, tmp_path: Path) -> None:
    def kept(text: str) -> set[str]:
        return {line.strip() for line in text.splitlines() if line.startswith(("appendonly", "appendfsync", "save"))}

    text = the(rendered("prod"), "ConfigMap", f"redis-{role}")["data"]["valkey.conf"]
    ours = new_server(role, port=1, folder=tmp_path).configuration()
    assert kept(text) == kept(ours)
    assert "appendonly yes" in kept(ours)


def test_every_service_has_a_base() -> None:
    names = {path.name for path in (ROOT / "k8s" / "base").iterdir()}
    missing = [
        service for service in SERVICES if not any(name.split("-small")[0].startswith(service) for name in names)
    ]
    assert missing == []


def test_generated_manifests_are_committed() -> None:
    files = {name: (ROOT / name) for name in generated()}
    different = [name for name, path in files.items() if not path.exists() or path.read_text() != generated()[name]]
    assert different == [], "run 'make manifests'"
