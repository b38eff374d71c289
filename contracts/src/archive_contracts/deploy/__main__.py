"""``python -m archive_contracts.deploy ROOT`` writes what deployments take from the map; ``--check`` compares."""

import json
import sys
from pathlib import Path

from archive_contracts import access
from archive_contracts.deploy import alerts, dashboards, exporter, scaling
from archive_contracts.deploy.yaml import document
from archive_contracts.streams import Server

SERVERS = {"bus": {Server.BUS}, "state": {Server.STATE}, "both": access.BOTH}


def generated() -> dict[str, str]:
    """Return every file by its path below the repository's root."""
    files = {
        f"compose/acl/{flavour}-{name}.acl": access.acl_file(servers, flavour)
        for flavour in access.Flavour
        for name, servers in SERVERS.items()
    }
    keda = "k8s/components/keda/scaledobjects.yaml"
    files[keda] = document(scaling.authentication(), *map(scaling.scaled_object, scaling.WORKERS))
    for worker in scaling.GPU_WORKERS:
        files[f"k8s/components/gpu/{worker.name}-scaling.yaml"] = document(scaling.scaled_object(worker))
    files["compose/observability/alerts.yaml"] = document(alerts.rules())
    files["k8s/components/monitoring/alerts.yaml"] = document(
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": "archive"},
            "spec": alerts.rules(),
        }
    )
    files["compose/observability/exporter.env"] = exporter.environment()
    files["k8s/components/monitoring/exporter-settings.yaml"] = document(exporter.config_map())
    for board in (dashboards.overview(), dashboards.streams()):
        text = json.dumps(board, indent=1) + "\n"
        files[f"compose/observability/grafana/boards/{board['uid']}.json"] = text
        files[f"k8s/components/monitoring/dashboards/{board['uid']}.json"] = text
    return files


def main(arguments: list[str]) -> int:
    """Write the files, or say which differ. Returns the exit code."""
    check = "--check" in arguments
    root = Path(next((argument for argument in arguments if not argument.startswith("-")), "."))
    found = {root / name: text for name, text in generated().items()}
    different = [path for path, text in found.items() if not path.exists() or path.read_text() != text]
    for path in different:
        sys.stdout.write(f"{'differs' if check else 'written'}: {path}\n")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(found[path])
    return 1 if check and different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
