import json
import os
import subprocess
import sys
from pathlib import Path

from archive_cli.plan import SERVICES, Choice, Site, parts

SETTINGS = """
import os

class Settings:
    def __init__(self):
        self.pool = os.environ.get("ENGINE_POOL", "-")
"""
APP = """
def build(settings):
    return settings.pool
"""
TELEMETRY = """
import sys

def read_settings(name, settings):
    return settings()

def run_all(apps, *, name):
    sys.stdout.write(" ".join(apps))
"""


def test_engines_read_their_own_environment(fake_services: Path, tmp_path: Path) -> None:
    for package in fake_services.iterdir():
        (package / "settings.py").write_text(SETTINGS)
        (package / "app.py").write_text(APP)
    (fake_services / "archive_telemetry.py").write_text(TELEMETRY)
    site = Site(
        home=tmp_path,
        python=sys.executable,
        bus_url="",
        state_url="",
        blobs_url="",
        gateway_port=1,
        console_port=3,
        model_port=2,
    )
    listed = json.dumps(parts(Choice(all_in_one=True), site))
    env = os.environ | {"PYTHONPATH": str(fake_services), "ARCHIVE_ALL_IN_ONE": listed}
    command = [sys.executable, "-m", "archive_cli.all_in_one"]
    found = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert found.stdout.split() == ["small", "embed", *["-"] * len(SERVICES)], found.stderr


def test_nothing_to_run_is_told() -> None:
    env = {name: value for name, value in os.environ.items() if name != "ARCHIVE_ALL_IN_ONE"}
    command = [sys.executable, "-m", "archive_cli.all_in_one"]
    found = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert "archive up --all-in-one" in found.stderr
