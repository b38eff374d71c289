"""Engines that operators add over HTTP."""

from typing import Any

from pydantic import SecretStr

from archive_contracts.engine import EVERY_ENGINE, EngineRegistered, EngineRegistry
from archive_contracts.streams import ENGINE_EVENTS, ENGINE_REGISTRY
from archive_testkit.waiting import eventually

SPEC = {"name": "far", "base_url": "http://far:8000/v1", "pool": "large", "slots": 8}
BY_OPERATOR = {"authorization": "Bearer k"}


async def test_added_engine_reaches_its_hosts(start: Any, bus_as: Any) -> None:
    async with start(api_key=SecretStr("k")) as gateway, bus_as("engine") as bus:
        added = await gateway.http.post("/v1/engines", json=SPEC, headers=BY_OPERATOR)
        assert (added.status_code, added.json()["pool"]) == (201, "large")
        journal = await bus.journal(ENGINE_REGISTRY, EVERY_ENGINE)
        assert EngineRegistry(entry.message for entry in journal).specs["far"].slots == 8
        listed = await gateway.http.get("/v1/engines/added", headers=BY_OPERATOR)
        assert [spec["name"] for spec in listed.json()["added"]] == ["far"]


async def test_added_engine_without_hosts_is_told(start: Any, bus_as: Any) -> None:
    host = EngineRegistered(
        worker="w", engine="minilm", pool="embed", models=(), capabilities=("embedding",), slots=1, hosts=True
    )
    async with start(api_key=SecretStr("k")) as gateway, bus_as("engine") as bus:

        async def hosted() -> bool:
            added = await gateway.http.post("/v1/engines", json=SPEC, headers=BY_OPERATOR)
            return added.json()["hosted"]

        assert await hosted() is False
        await bus.publish(host, to=ENGINE_EVENTS)
        await eventually(hosted)


async def test_removed_engine_leaves_its_hosts(start: Any, bus_as: Any) -> None:
    async with start(api_key=SecretStr("k")) as gateway, bus_as("engine") as bus:
        added = await gateway.http.post("/v1/engines", json=SPEC, headers=BY_OPERATOR)
        assert added.is_success, added.text
        gone = await gateway.http.delete("/v1/engines/added/far", headers=BY_OPERATOR)
        assert gone.json() == {"name": "far", "removed": True}
        journal = await bus.journal(ENGINE_REGISTRY, EVERY_ENGINE)
        assert not EngineRegistry(entry.message for entry in journal).specs
        again = await gateway.http.delete("/v1/engines/added/far", headers=BY_OPERATOR)
        assert (again.status_code, again.json()["error"]["code"]) == (404, "engine_not_found")


async def test_open_door_adds_no_engine(gateway: Any) -> None:
    refused = await gateway.http.post("/v1/engines", json=SPEC)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "operator_key_needed")


async def test_engine_without_address_is_refused(start: Any) -> None:
    async with start(api_key=SecretStr("k")) as gateway:
        for wrong in ({"base_url": "file:///etc"}, {"name": "No Name"}, {"pool": ""}):
            refused = await gateway.http.post("/v1/engines", json=SPEC | wrong, headers=BY_OPERATOR)
            assert refused.status_code == 400
