"""The engines that live, for operators and for the command."""

from pydantic import BaseModel
from starlette.types import ASGIApp

from archive_contracts.chat import Capability
from archive_gateway.routes.answers import Json
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
