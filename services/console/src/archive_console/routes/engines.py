"""Engines: which answer, which could, and adding one by hand."""

from typing import Any

from pydantic import ValidationError
from starlette.responses import Response

from archive_console.domain.engines import RESERVED, Offer, offer, only_bundled
from archive_console.domain.errors import BadForm, NotThere
from archive_console.routes.acting import note, reason_of
from archive_console.routes.events import streamed, watched
from archive_console.routes.visit import Visit, text
from archive_contracts.engine import EVERY_ENGINE, EngineSpec, RegisterEngine, RemoveEngine
from archive_contracts.streams import ENGINE_REGISTRY
from archive_finding import BadPlace, place_of

LOOK_S = 1.5
BACK = frozenset({"/", "/system/engines"})


async def engines(visit: Visit) -> dict[str, Any]:
    """Return what answers, what was added, and what could be. Raises BusError."""
    return {
        "workers": visit.desk.engines.workers(),
        "registered": await visit.desk.engines.registered(),
        "offer": await _offer(visit),
    }


async def watch_offers(visit: Visit) -> Response:
    """Send what can be done about engines whenever it changes."""

    async def look() -> str:
        bundled = only_bundled(visit.desk.engines.workers())
        return visit.html("offers.html", offer=await _offer(visit), only_bundled=bundled, back="/")

    return streamed(watched(visit, ("offers",), look, every_s=LOOK_S))


async def add_engine(visit: Visit) -> Response:
    """Have an OpenAI-compatible server asked from now on."""
    form = await visit.form()
    reason = reason_of(form)
    spec = _spec(text(form, "url", most=500), model=text(form, "model", most=200), name=text(form, "name", most=40))
    registering = RegisterEngine(engine=spec)
    await visit.desk.bus.append(registering, to=ENGINE_REGISTRY, entity=EVERY_ENGINE, origin=visit.origin, timeout=2.0)
    await note(visit, "added an engine", [spec.name, spec.base_url], reason=reason)
    back = text(form, "back")
    return visit.to(back if back in BACK else "/system/engines")


async def remove_engine(visit: Visit) -> Response:
    """Have an engine asked no longer that was added by hand."""
    form = await visit.form()
    reason = reason_of(form)
    name = visit.request.path_params["name"]
    if name not in {spec.name for spec in await visit.desk.engines.registered()}:
        raise NotThere("No engine of that name was added here.", next_step="See the list of engines.")
    removing = RemoveEngine(name=name)
    await visit.desk.bus.append(removing, to=ENGINE_REGISTRY, entity=EVERY_ENGINE, origin=visit.origin, timeout=2.0)
    await note(visit, "removed an engine", [name], reason=reason)
    return visit.to("/system/engines")


async def _offer(visit: Visit) -> Offer:
    found = await visit.desk.finder.found()
    return offer(found, visit.desk.engines.workers(), await visit.desk.engines.registered())


def _spec(url: str, *, model: str, name: str) -> EngineSpec:
    try:
        place = place_of(url)
        chosen = name or place.name
        spec = EngineSpec(name=chosen, base_url=place.base_url, pool=chosen, model=model)
    except BadPlace as error:
        raise BadForm(
            f"This is no address of an engine: {error}.",
            next_step="Write that of an OpenAI-compatible server, such as http://127.0.0.1:11434/v1.",
        ) from None
    except ValidationError:
        raise BadForm(
            "This cannot be the name of an engine.",
            next_step="Use up to 40 lower-case letters, digits, dots and hyphens.",
        ) from None
    if spec.name in RESERVED:
        raise BadForm("This is the name of a built-in engine.", next_step="Choose another.")
    return spec
