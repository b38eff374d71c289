"""The models that can be asked for now."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field
from starlette.types import ASGIApp

from archive_gateway.domain.errors import NotThere
from archive_gateway.domain.roster import Offer
from archive_gateway.routes.answers import Json
from archive_gateway.routes.desk import Desk
from archive_gateway.routes.visit import Visit


class ModelObject(BaseModel):
    """A model that a healthy engine serves."""

    id: str
    object: Literal["model"] = "model"
    created: Annotated[int, Field(description="Since when an engine offers it, in seconds since the epoch.")]
    owned_by: str
    context: Annotated[int, Field(description="Tokens of prompt and answer together; 0 when unknown.")]
    engines: tuple[str, ...]


class ModelList(BaseModel):
    """The models that can be asked for now."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


async def list_models(desk: Desk, visit: Visit) -> ASGIApp:
    """List the models of healthy engines."""
    await desk.asking.demand_servers()
    offers = desk.engines.offers()
    return Json(ModelList(data=[_model(offers[name]) for name in sorted(offers)]))


async def get_model(desk: Desk, visit: Visit) -> ASGIApp:
    """Look up a model; its id may contain slashes."""
    await desk.asking.demand_servers()
    name = visit.part("model")
    offer = desk.engines.offers().get(name)
    if offer is None:
        raise NotThere(
            f"The model {name[:200]!r} does not exist here.",
            next_step="See /v1/models for those that do, or add an engine with 'archive engines add URL'.",
            param="model",
            code="model_not_found",
        )
    return Json(_model(offer))


def _model(offer: Offer) -> ModelObject:
    return ModelObject(
        id=offer.id,
        created=int(offer.since),
        owned_by=offer.owned_by,
        context=offer.context,
        engines=offer.engines,
    )
