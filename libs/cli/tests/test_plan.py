import json
from dataclasses import replace
from pathlib import Path

import pytest

from archive_cli.__main__ import build_parser
from archive_cli.commands.life import choice_of
from archive_cli.engine_list import make_entry
from archive_cli.errors import UsageError
from archive_cli.plan import (
    SERVICES,
    Choice,
    Process,
    Site,
    Wave,
    added_engine,
    check,
    inherited,
    parse_counts,
    stop_order,
    system,
)

SITE = Site(
    home=Path("/home"),
    python="python",
    bus_url="redis://:a@127.0.0.1:1/0",
    state_url="redis://:b@127.0.0.1:2/0",
    blobs_url="file:///home/blobs",
    gateway_port=8080,
    console_port=8090,
    model_port=9,
)


def by_name(choice: Choice) -> dict[str, Process]:
    return {process.name: process for process in system(choice, SITE)}


def test_default_runs_every_service_once() -> None:
    names = set(by_name(Choice()))
    assert names == {*SERVICES, "model", "engine-small", "engine-embed"}


def test_no_model_leaves_out_its_worker() -> None:
    names = set(by_name(Choice(model=False)))
    assert names == {*SERVICES, "engine-embed"}


def test_replicas_get_names_and_files() -> None:
    found = by_name(Choice(scale={"router": 3}))
    assert {"router", "router-2", "router-3"} <= set(found)
    assert len({found[name].ready_file for name in ("router", "router-2", "router-3")}) == 3


def test_gateway_replicas_share_the_port() -> None:
    found = by_name(Choice(scale={"gateway": 2}))
    assert found["gateway"].env["GATEWAY_PORT"] == found["gateway-2"].env["GATEWAY_PORT"] == "8080"


def test_every_librarian_sees_the_folder() -> None:
    # A document's end is told to one of them, which must be able to put the dropped file away.
    found = by_name(Choice(scale={"librarian": 2}))
    folders = {found[name].env["LIBRARIAN_WATCH_DIR"] for name in ("librarian", "librarian-2")}
    assert folders == {"/home/Library-Drop"}


def test_passwords_stay_out_of_commands() -> None:
    for process in system(Choice(), SITE):
        assert not any(":a@" in word or ":b@" in word for word in process.command)


def test_each_service_has_its_own_credential() -> None:
    site = replace(SITE, bus_urls={"router": "redis://router:r@127.0.0.1:1/0"})
    env = {process.name: process.env for process in system(Choice(), site)}
    assert env["router"]["ARCHIVE_BUS_URL"] == "redis://router:r@127.0.0.1:1/0"
    assert env["memory"]["ARCHIVE_BUS_URL"] == SITE.bus_url
    whole = {process.name: process.env for process in system(Choice(all_in_one=True), site)}
    parts = dict(json.loads(whole["all-in-one"]["ARCHIVE_ALL_IN_ONE"]))
    assert parts["router"]["ARCHIVE_BUS_URL"] == "redis://router:r@127.0.0.1:1/0"


def test_all_in_one_lists_both_engines() -> None:
    found = by_name(Choice(all_in_one=True))
    assert set(found) == {"model", "all-in-one"}
    parts = json.loads(found["all-in-one"].env["ARCHIVE_ALL_IN_ONE"])
    assert [name for name, _ in parts] == ["engine", "engine", *SERVICES]
    assert {env["ENGINE_POOL"] for name, env in parts if name == "engine"} == {"small", "embed"}


def test_callers_end_before_the_called() -> None:
    order = [{process.wave for process in group} for group in stop_order(system(Choice(), SITE))]
    assert order == [{Wave.DOOR}, {Wave.SERVICE}, {Wave.ENGINE}, {Wave.MODEL}]


def test_added_engine_gets_its_key_by_environment() -> None:
    entry = make_entry("http://127.0.0.1:11434", api_key_env="KEY", model="m")
    process = added_engine(entry, choice=Choice(), site=SITE, key="secret")
    assert process.env["ENGINE_API_KEY"] == "secret"
    assert process.env["ENGINE_BASE_URL"] == "http://127.0.0.1:11434/v1"
    assert "secret" not in " ".join(process.command)


def test_surroundings_leak_no_key() -> None:
    env = {"ENGINE_API_KEY": "x", "ENGINE_THREADS": "2", "LIBRARIAN_WATCH_DIR": "/y", "PATH": "/bin"}
    assert inherited(env) == {"ENGINE_THREADS": "2", "PATH": "/bin"}


def test_engine_means_the_bundled_model() -> None:
    args = build_parser().parse_args(["up", "--scale", "engine=3", "router=2"])
    assert choice_of(args).scale == {"engine-small": 3, "router": 2}


@pytest.mark.parametrize("choice", [Choice(scale={"memory": 2}), Choice(scale={"router": 0})])
def test_impossible_scale_is_refused(choice: Choice) -> None:
    with pytest.raises(UsageError):
        check(choice)


def test_all_in_one_refuses_replicas() -> None:
    with pytest.raises(UsageError, match="one process"):
        check(Choice(all_in_one=True, scale={"router": 2}))


@pytest.mark.parametrize("word", ["router", "router=", "router=x", "nobody=2", "router=-1", "router=65536"])
def test_bad_counts_name_the_choices(word: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_counts([word], option="--scale", names=["router"], highest=65_535)
    assert "router" in caught.value.next_step


def test_chosen_health_port_is_passed_on() -> None:
    assert by_name(Choice(ports={"router": 9101}))["router"].env["ARCHIVE_HEALTH_PORT"] == "9101"
