"""Each service installs only what it needs."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")

FOREIGN = ("pypdfium2", "pdfplumber", "lxml", "onnxruntime", "tiktoken", "starlette")


def test_router_installs_without_pdf_libraries(tmp_path: Path) -> None:
    if not Path(UV).exists():
        pytest.skip("uv is neither on the path nor in .uv")
    python = tmp_path / "bin" / "python"
    env = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    members = [
        str(ROOT / part) for part in ("contracts", "libs/blobs", "libs/bus", "libs/telemetry", "services/router")
    ]
    subprocess.run([UV, "venv", "--quiet", str(tmp_path)], check=True, env=env)
    subprocess.run(
        [UV, "pip", "install", "--quiet", "--python", str(python), "-c", str(ROOT / "requirements.lock"), *members],
        check=True,
        env=env,
        cwd=ROOT,
    )
    check = f"import importlib.util as u, archive_router.app; print([n for n in {FOREIGN} if u.find_spec(n)])"
    found = subprocess.run([str(python), "-c", check], check=True, env=env, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"
