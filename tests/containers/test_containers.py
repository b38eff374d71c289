"""The images do what the processes do: answer, lose nothing when stopped at work, and are swapped under traffic."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import pytest

from archive_contracts.streams import SERVICES
from archive_testkit.documents import FACTS, pdf
from archive_testkit.jobs import ended

if TYPE_CHECKING:
    from conftest import Project

END_S = 300.0
OURS = ("gateway", "console", "router", "agent", "tool-runner", "librarian", "memory", "engine-embed", "engine-small")


def caller(project: "Project") -> httpx.Client:
    """Return a caller with the key."""
    return httpx.Client(base_url=project.url, headers={"authorization": f"Bearer {project.key}"}, timeout=120)


@pytest.fixture
def http(project: "Project") -> Iterator[httpx.Client]:
    """A caller with the key."""
    with caller(project) as client:
        yield client


def upload(http: httpx.Client, title: str, *, pages: int = 3) -> str:
    file = (f"{title}.pdf", pdf(pages=pages, title=title, dense=4))
    return str(http.post("/v1/documents", files={"file": file}).raise_for_status().json()["job_id"])


def test_question_is_answered_with_its_source(http: httpx.Client) -> None:
    assert ended(http, upload(http, "almanac"), END_S)["status"] == "done"
    reply = http.post("/research", json={"question": FACTS[0].question, "top_k": 3}).raise_for_status()
    assert "almanac.pdf" in reply.text


@pytest.mark.parametrize("service", OURS)
def test_container_is_closed(project: "Project", service: str) -> None:
    assert project.inspect(service, ["HostConfig", "ReadonlyRootfs"]) is True
    assert project.inspect(service, ["HostConfig", "CapDrop"]) == ["ALL"]
    assert project.inspect(service, ["Config", "User"]) == "10001:10001"


@pytest.mark.parametrize("service", ["librarian", "memory", "engine-embed"])
def test_stop_at_work_loses_nothing(project: "Project", http: httpx.Client, service: str) -> None:
    job_id = upload(http, f"stopped-{service}", pages=40)
    time.sleep(1.0)
    project.stop_at_work(project.container(service))
    project.run("up", "--detach", "--wait", service)
    assert ended(http, job_id, END_S)["status"] == "done"


def test_every_service_has_an_image(project: "Project") -> None:
    assert {f"archive/{name}" for name in (*SERVICES, "cli")} <= project.engine.sizes("archive/*").keys()


@pytest.mark.parametrize("image", [*SERVICES, "cli"])
def test_image_says_what_it_is_made_of(project: "Project", image: str) -> None:
    """Its bill of materials names what its Python knows to be installed, and Debian's packages."""
    asked = (
        "import json, importlib.metadata as m; told = json.load(open('/app/sbom.json')); "
        "told['own'] = [[d.name, d.version] for d in m.distributions()]; print(json.dumps(told))"
    )
    told = json.loads(project.engine.docker("run", "--rm", "--network=none", f"archive/{image}", "python", "-c", asked))
    found = {kind: set[tuple[str, str]]() for kind in (True, False)}
    for each in told["components"]:
        found[each.get("purl", "").startswith("pkg:deb/")].add((each["name"], each["version"]))
    assert (told["bomFormat"], told["metadata"]["component"]["name"]) == ("CycloneDX", f"archive-{image}")
    assert found[False] == {(name, version) for name, version in told["own"] if name != f"archive-{image}"}
    assert {"libc6", "libgomp1"} <= {name for name, _ in found[True]}


def test_stream_outlives_the_state_server(project: "Project", http: httpx.Client) -> None:
    asked = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    with http.stream("POST", "/v1/chat/completions", json=asked | {"max_tokens": 500, "ignore_eos": True}) as reply:
        lines = reply.iter_lines()
        assert next(line for line in lines if '"content"' in line)
        project.engine.docker("restart", "--timeout", "0", project.container("state"))
        rest = "\n".join(lines)
    assert '"error"' not in rest
    assert "data: [DONE]" in rest


def failures(project: "Project") -> list[dict[str, str]]:
    """Return what the operator's doctor calls a failure."""
    findings = project.examine()
    assert {"bus access", "state access", "groups", "blobs", "engines", "owners"} <= {
        each["check"] for each in findings
    }
    return [found for found in findings if found["level"] == "failure"]


def test_operator_finds_nothing_wrong(project: "Project") -> None:
    assert failures(project) == []


def test_backup_fills_an_empty_project(project: "Project", http: httpx.Client) -> None:
    assert ended(http, upload(http, "chronicle"), END_S)["status"] == "done"
    project.operate("archive", "backup", "/data/whole.tar")
    copy = type(project)(project.engine, project.secrets, name="archive-restored")
    try:
        copy.up("bus", "state")
        assert copy.operate("ls", "/data") == ""
        places = [f"--volume={name}_backups:/{name}" for name in (project.name, copy.name)]
        words = ("cp", f"/{project.name}/whole.tar", f"/{copy.name}/")
        project.engine.docker("run", "--rm", *places, "archive/cli", *words)
        copy.operate("archive", "restore", "/data/whole.tar")
        copy.up()
        with caller(copy) as there:
            assert "chronicle.pdf" in there.get("/v1/documents").text
            question = {"question": FACTS[0].question, "top_k": 3}
            assert ".pdf" in there.post("/research", json=question).text
        assert failures(copy) == []
    finally:
        copy.stop()


def test_new_credential_needs_one_command(project: "Project", http: httpx.Client) -> None:
    before = project.inspect("bus", ["State", "StartedAt"])
    with (project.secrets / "passwords" / "librarian").open("a") as file:
        file.write("another-password\n")
    project.make_secrets()
    project.up()
    assert project.inspect("bus", ["State", "StartedAt"]) != before, "a server reads its rules at its start alone"
    assert ended(http, upload(http, "renewed"), END_S)["status"] == "done"


def test_image_is_swapped_under_traffic(project: "Project") -> None:
    project.build("--build-arg", "VERSION=0.1.1", "router")
    before, answers, stop = project.inspect("router", ["Image"]), Counter[str](), threading.Event()

    def ask() -> None:
        with caller(project) as http:
            while not stop.is_set():
                reply = http.post("/v1/embeddings", json={"model": "auto", "input": "a text"})
                answers["done" if reply.status_code == 200 else reply.text] += 1

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        project.run("up", "--detach", "--no-deps", "--wait", "router")
    finally:
        stop.set()
        asking.join(150)
    assert project.inspect("router", ["Image"]) != before
    assert answers.keys() == {"done"}
