"""Static files, under addresses that change with their content."""

from functools import cache
from importlib.resources import files

from starlette.responses import Response

from archive_console.domain.errors import NotThere
from archive_console.routes.visit import Visit

KINDS = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


async def serve(visit: Visit) -> Response:
    """Send a file that the browser may keep for good."""
    name = visit.request.path_params["name"]
    content = _content().get(name)
    if content is None:
        raise NotThere("There is no such file.")
    headers = {"cache-control": "public, max-age=31536000, immutable"}
    return Response(content, media_type=KINDS[name.rpartition(".")[2]], headers=headers)


@cache
def _content() -> dict[str, bytes]:
    folder = files("archive_console").joinpath("static")
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name.rpartition(".")[2] in KINDS}
