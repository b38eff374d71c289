"""A service made from the template passes the linters, handles its first message, and is deployed as the others are."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from archive_testkit.new_service import CannotCreate, create
from archive_testkit.policy import RULES
from archive_testkit.policy.cluster import Cluster

Json = dict[str, Any]
ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

MESSAGES = '''"""Pictures to be read."""

from typing import ClassVar

from archive_contracts.base import Message


class ReadPicture(Message):
    """Read the text of a picture."""

    type: ClassVar[str] = "ocr.read.v1"
    picture: str


class PictureRead(Message):
    """The text of a picture."""

    type: ClassVar[str] = "ocr.was-read.v1"
    text: str
'''
STREAMS = """OCR_COMMANDS = Stream(
    name="ocr.commands",
    about="Pictures to be read.",
    messages=(ocr.ReadPicture,),
    producers=("gateway",),
    consumers={"ocr": (ocr.ReadPicture,)},
)
OCR_EVENTS = Stream(
    name="ocr.events",
    about="What was read.",
    messages=(ocr.PictureRead,),
    producers=("ocr",),
    followers=("gateway",),
    kind=Kind.BROADCAST,
    max_length=1_000,
)
"""
HANDLERS = '''"""A picture comes in, its text goes out."""

from archive_bus import Delivery
from archive_contracts.ocr import PictureRead, ReadPicture
from archive_contracts.streams import OCR_EVENTS


async def read(delivery: Delivery[ReadPicture]) -> None:
    """Tell the text of a picture."""
    await delivery.publish(PictureRead(text=delivery.message.picture.upper()), to=OCR_EVENTS)
'''
CLIENT = """
import asyncio, sys
from datetime import timedelta
from archive_bus import BusOptions, connect
from archive_contracts.ocr import ReadPicture
from archive_contracts.streams import OCR_COMMANDS, OCR_EVENTS

async def main(url):
    async with connect(url, url, BusOptions(service="gateway")) as bus, asyncio.timeout(60):
        await bus.publish(ReadPicture(picture="hello"), to=OCR_COMMANDS)
        async for received in bus.follow(OCR_EVENTS, since=timedelta(minutes=1)):
            if received:
                return print(received.message.text)

asyncio.run(main(sys.argv[1]))
"""


def replaced(path: Path, *pairs: tuple[str, str]) -> None:
    text = path.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What of the repository a new service touches or is checked by."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "contracts" / "src", tmp_path / "contracts" / "src")
    shutil.copytree(ROOT / "compose", tmp_path / "compose", ignore=shutil.ignore_patterns("secrets"))
    shutil.copytree(ROOT / "k8s", tmp_path / "k8s")
    (tmp_path / "libs").symlink_to(ROOT / "libs")
    return tmp_path


def develop(root: Path) -> None:
    """Do what is left to the developer: messages, the map, a handler and its subscription."""
    contracts, package = root / "contracts/src/archive_contracts", root / "services/ocr/src/archive_ocr"
    (contracts / "ocr.py").write_text(MESSAGES)
    replaced(
        contracts / "streams.py",
        ("    memory,\n", "    memory,\n    ocr,\n"),
        ("\nSTREAMS: ", f"{STREAMS}\nSTREAMS: "),
        ("        INGRESS,\n", "        INGRESS,\n        OCR_COMMANDS,\n        OCR_EVENTS,\n"),
        ('"tool-runner")\n"""Every service', '"tool-runner", "ocr")\n"""Every service'),
    )
    (package / "handlers.py").write_text(HANDLERS)
    replaced(
        package / "app.py",
        ("from archive_ocr.settings", "from archive_ocr.handlers import read\nfrom archive_ocr.settings"),
        (
            "connect\n",
            "connect\nfrom archive_contracts import ocr\nfrom archive_contracts.streams import OCR_COMMANDS\n",
        ),
        (
            "            yield\n",
            "            bus.subscribe(OCR_COMMANDS, {ocr.ReadPicture: read}, concurrency=8)\n            yield\n",
        ),
    )


def environment(root: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{root}/contracts/src:{root}/services/ocr/src"}


def run(root: Path, *command: str | Path) -> str:
    done = subprocess.run(
        command, check=False, cwd=root, env=environment(root), capture_output=True, text=True, timeout=170
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_new_service_passes_the_linters(checkout: Path) -> None:
    create(checkout, "ocr")
    run(checkout, BIN / "ruff", "check", "services")
    develop(checkout)
    run(checkout, BIN / "ruff", "check", "--fix", "--select", "I", "services")
    strict = {
        "include": ["services/ocr/src"],
        "extraPaths": ["contracts/src", "services/ocr/src"],
        "typeCheckingMode": "strict",
    }
    (checkout / "pyrightconfig.json").write_text(json.dumps(strict))
    run(checkout, BIN / "ruff", "check", "services")
    run(checkout, BIN / "ruff", "format", "--check", "services")
    assert " 0 broken" in run(checkout, BIN / "lint-imports")
    assert "0 errors" in run(checkout, BIN / "pyright", "--pythonpath", sys.executable)


def test_new_service_handles_its_first_message(checkout: Path, redis_url: str) -> None:
    create(checkout, "ocr")
    develop(checkout)
    urls = {"ARCHIVE_BUS_URL": redis_url, "ARCHIVE_STATE_URL": redis_url, "ARCHIVE_BLOBS_URL": f"file://{checkout}/b"}
    service = subprocess.Popen([sys.executable, "-m", "archive_ocr"], cwd=checkout, env=environment(checkout) | urls)
    try:
        assert run(checkout, sys.executable, "-c", CLIENT, redis_url) == "HELLO\n"
    finally:
        service.terminate()
        assert service.wait(timeout=60) == 0


def test_new_service_stands_in_compose(checkout: Path) -> None:
    create(checkout, "page-reader")
    before: Json = yaml.safe_load((ROOT / "compose" / "compose.yaml").read_text())
    after: Json = yaml.safe_load((checkout / "compose" / "compose.yaml").read_text())
    made = after["services"].pop("page-reader")
    assert after == before
    assert made["build"]["args"] == {"SERVICE": "page-reader"}
    url = "redis://page-reader:${PAGE_READER_PASSWORD:?run archive secrets}@bus:6379/0"
    assert made["environment"]["ARCHIVE_BUS_URL"] == url
    files = (
        "compose/observability.yaml",
        "compose/observability/prometheus.yml",
        "k8s/components/s3-blobs/kustomization.yaml",
        "k8s/components/s3-blobs/store.yaml",
    )
    assert [name for name in files if "page-reader" not in (checkout / name).read_text()] == []


@pytest.mark.parametrize("overlay", ["dev", "prod-gpu"])
def test_new_service_keeps_the_rules_of_manifests(checkout: Path, overlay: str) -> None:
    if (kubectl := shutil.which("kubectl")) is None:
        pytest.skip("kubectl is not installed, which renders the overlays")
    create(checkout, "page-reader")
    rendered = run(checkout, kubectl, "kustomize", f"k8s/overlays/{overlay}")
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # an overlay has 5,000 lines
    cluster = Cluster([found for found in yaml.load_all(rendered, Loader=loader) if found])
    assert "page-reader" in {workload.name for workload in cluster.workloads}
    assert [fault for rule in RULES for fault in rule(cluster)] == []


def test_stray_room_fails_the_linters(checkout: Path) -> None:
    create(checkout, "ocr")
    (checkout / "services/ocr/src/archive_ocr/utils.py").write_text("")
    done = subprocess.run(
        [BIN / "lint-imports"], check=False, cwd=checkout, env=environment(checkout), capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "archive_ocr.utils" in done.stdout


@pytest.mark.parametrize("name", ["OCR", "ocr_2", "1st", "", "../x"])
def test_impossible_name_is_refused(checkout: Path, name: str) -> None:
    with pytest.raises(CannotCreate, match="cannot name"):
        create(checkout, name)


def test_existing_service_is_left_alone(checkout: Path) -> None:
    create(checkout, "ocr")
    with pytest.raises(CannotCreate, match="exists"):
        create(checkout, "ocr")
