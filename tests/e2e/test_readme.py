"""What the README tells people to type does what it says."""

import re
import subprocess
from pathlib import Path

from archive_testkit.system import ArchiveSystem

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
LINES = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
COMMANDS = [line for line in LINES if line.startswith((".venv/bin/archive ", "curl "))]


def test_readme_names_the_two_commands() -> None:
    assert LINES[:2] == ["make up", "make test"]


def test_snippets_run_in_their_order(processes: ArchiveSystem) -> None:
    env = {"ARCHIVE_HOME": str(processes.home), "PATH": "/usr/bin:/bin"}
    for command in COMMANDS:
        here = command.replace("http://127.0.0.1:8080", processes.url).replace("curl -s", "curl -s --fail-with-body")
        if command.startswith(".venv"):
            here = f"{ROOT}/{here}"
        done = subprocess.run(
            here, shell=True, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        assert done.stdout.strip()
