"""An image's bill of materials also names the Debian packages of its base."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "compose" / "sbom.py"
STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 1:2.36-9+deb12u13
Description: GNU C Library: Shared libraries
 Contains the standard libraries.
 .
 Status: nothing of a package

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1

Package: libc6
Status: install ok installed
Architecture: amd64
Version: 1:2.36-9+deb12u13
"""
PYTHON = {"type": "library", "name": "redis", "version": "7.0.0", "purl": "pkg:pypi/redis@7.0.0"}


def test_installed_packages_are_added_once(tmp_path: Path) -> None:
    file, status = tmp_path / "sbom.json", tmp_path / "status"
    file.write_text(json.dumps({"bomFormat": "CycloneDX", "components": [PYTHON]}))
    status.write_text(STATUS)
    subprocess.run([sys.executable, str(SCRIPT), str(file), str(status)], check=True)
    python, debian = json.loads(file.read_text())["components"]
    assert python == PYTHON
    assert debian["purl"] == "pkg:deb/debian/libc6@1:2.36-9%2Bdeb12u13?arch=amd64"
    assert (debian["name"], debian["version"]) == ("libc6", "1:2.36-9+deb12u13")
