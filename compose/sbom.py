"""Adds the Debian packages of an image to the bill of materials (CycloneDX) of its Python packages.

`sbom.py FILE STATUS` reads and writes FILE; STATUS is dpkg's list of what the base image brings.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote


def installed(status: str) -> Iterator[dict[str, str]]:
    """Yield the fields of each installed package of dpkg's list; lines that go on in the next one are left out."""
    for paragraph in status.split("\n\n"):
        lines = (line.partition(": ") for line in paragraph.splitlines() if line[:1].strip())
        fields = {name: value for name, _, value in lines}
        if fields.get("Status", "").endswith(" installed"):
            yield fields


def component(package: dict[str, str]) -> dict[str, str]:
    """Return a package as CycloneDX has it."""
    name, version, arch = (package[field] for field in ("Package", "Version", "Architecture"))
    purl = f"pkg:deb/debian/{quote(name, safe='')}@{quote(version, safe=':')}?arch={arch}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def main(file: Path, status: Path) -> None:
    """Add what dpkg lists."""
    told = json.loads(file.read_text())
    found = {each["purl"]: each for each in map(component, installed(status.read_text()))}
    told["components"] += found.values()
    file.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
