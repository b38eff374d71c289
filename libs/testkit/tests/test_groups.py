"""Tests of one group run in one worker: what they share, such as a whole system, is set up once."""

import subprocess
import sys
from pathlib import Path

GROUPED = """
import os
from pathlib import Path
import pytest

@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(8))
def test_grouped(number):
    Path(__file__).with_name(f"by-{os.getpid()}").touch()
"""


def test_group_stays_in_one_worker(tmp_path: Path) -> None:
    (tmp_path / "test_grouped.py").write_text(GROUPED)
    options = ("-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider", "--rootdir", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert len(list(tmp_path.glob("by-*"))) == 1, "tests of one group ran in several workers"
