"""The engines that live, and those that operators add, for people and for the command."""

from typing import Literal

from pydantic import BaseModel
from starlette.types import ASGIApp

from archive_contracts.chat import Capability
from archive_contracts.engine import EVERY_ENGINE, EngineRegistry, EngineSpec, RegisterEngine, RemoveEngine
from archive_contracts.streams import ENGINE_REGISTRY
from archive_gateway.domain.errors import NotThere
from archive_gateway.routes.answers import Json
from archive_gateway.routes.asking import PUBLISH_S, soon
from archive_gateway.routes.desk import Desk
from archive_gateway.routes.visit import Visit


class Engine(BaseModel):
    """An engine worker, as its last heartbeat described it."""

    worker: str
    engine: str
    pool: str
    models: list[str]
    capabilities: tuple[Capability, ...]
    slots: int
    busy: int
    healthy: bool
    problem: str
    base_url: str


class EngineList(BaseModel):
    """The engine workers that are alive, healthy or not."""

    engines: list[Engine]


class AddedEngine(EngineSpec):
    """A server that is in the list of those that were added."""

    hosted: bool
    """Whether a living worker runs added engines. Without one nobody asks the server until there is one."""


class AddedEngines(BaseModel):
    """The servers that were added by API, whether they answer or not."""

    added: list[EngineSpec]


class RemovedEngine(BaseModel):
    """A server is no longer asked; what runs there is finished."""

    name: str
    removed: Literal[True] = True


async def list_engines(desk: Desk, visit: Visit) -> ASGIApp:
    """List the engine workers that are alive."""
    await desk.asking.demand_servers()
    workers = [member.worker for member in desk.engines.members()]
    return Json(
        EngineList(
            engines=[
                Engine(
                    worker=worker.worker,
                    engine=worker.engine,
                    pool=worker.pool,
                    models=[card.id for card in worker.models],
                    capabilities=worker.capabilities,
                    slots=worker.slots,
                    busy=worker.busy,
                    healthy=worker.healthy,
                    problem=worker.problem,
                    base_url=worker.base_url,
                )
                for worker in workers
            ]
        )
    )


async def list_added(desk: Desk, visit: Visit) -> ASGIApp:
    """List the servers that were added by API."""
    specs = (await _registry(desk)).specs
    return Json(AddedEngines(added=[specs[name] for name in sorted(specs)]))


async def add_engine(desk: Desk, visit: Visit) -> ASGIApp:
    """Add an OpenAI-compatible server; whoever hosts workers takes it up at once."""
    visit.ticket.caller.demand_name("add engines, for what is asked goes there")
    wanted = await visit.body(EngineSpec)
    await _write(desk, visit, RegisterEngine(engine=wanted))
    hosted = any(member.worker.hosts for member in desk.engines.members())
    return Json(AddedEngine(**wanted.model_dump(), hosted=hosted), status=201)


async def remove_engine(desk: Desk, visit: Visit) -> ASGIApp:
    """Remove a server that was added by API; what runs there is finished."""
    visit.ticket.caller.demand_name("remove engines")
    name = visit.part("engine")
    if name not in (await _registry(desk)).specs:
        raise NotThere(
            f"No engine {name[:100]!r} was added by API.",
            next_step="See /v1/engines/added; engines of the data folder are removed by 'archive engines remove'.",
            code="engine_not_found",
        )
    await _write(desk, visit, RemoveEngine(name=name))
    return Json(RemovedEngine(name=name))


async def _registry(desk: Desk) -> EngineRegistry:
    entries = await soon(desk.bus.journal(ENGINE_REGISTRY, EVERY_ENGINE))
    return EngineRegistry(received.message for received in entries)


async def _write(desk: Desk, visit: Visit, event: RegisterEngine | RemoveEngine) -> None:
    await desk.bus.append(event, to=ENGINE_REGISTRY, entity=EVERY_ENGINE, origin=visit.origin, timeout=PUBLISH_S)
