"""Which address is served by what."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from archive_console.routes import chat, documents, downloads, engines, files, jobs, letters, probes, session, system
from archive_console.routes.desk import Desk
from archive_console.routes.visit import Visit

Handler = Callable[[Visit], Awaitable[Response]]
SESSION = "archive.session"
OPEN = ("/login", "/static/", "/livez", "/readyz")
"""What is shown to people who have not come in yet."""
OPERATORS = "/system"

_GET: tuple[tuple[str, Handler], ...] = (
    ("/", chat.new_chat),
    ("/chat/{conversation}", chat.show_chat),
    ("/chat/{conversation}/export.md", chat.export_markdown),
    ("/chat/{conversation}/export.json", chat.export_json),
    ("/turns/{turn}/events", chat.follow),
    ("/documents", documents.show_documents),
    ("/documents/events", documents.watch_documents),
    ("/documents/choices", chat.choose),
    ("/documents/shelf", chat.look),
    ("/documents/{document}", documents.show_source),
    ("/documents/{document}/source/{chunk}", documents.show_source),
    ("/documents/{document}/pages/{page:int}.png", documents.draw_page),
    ("/documents/{document}/file", documents.download),
    ("/system", system.show),
    # Before addresses that name one thing, such as a stream: nothing is called "events".
    ("/system/offers/events", engines.watch_offers),
    ("/system/{part}/events", system.watch),
    ("/system/streams/{stream}", system.show_stream),
    ("/system/streams/{stream}/events", system.watch_stream),
    ("/system/streams/{stream}/messages/{entry}", system.show_message),
    ("/system/jobs/{job}", jobs.show_job),
    ("/system/jobs/{job}/events", jobs.watch_job),
    ("/system/dead/{letter}", letters.show_letter),
    ("/system/{part}", system.show),
    ("/login", session.login_form),
    ("/static/{version}/{name}", files.serve),
    ("/livez", probes.livez),
    ("/readyz", probes.readyz),
)
_POST: tuple[tuple[str, Handler], ...] = (
    ("/chat", chat.ask),
    ("/chat/{conversation}/turns", chat.ask),
    ("/chat/{conversation}/rename", chat.rename),
    ("/chat/{conversation}/delete", chat.delete),
    ("/turns/{turn}/retry", chat.retry),
    ("/turns/{turn}/stop", chat.stop),
    ("/documents", documents.upload),
    ("/documents/sample", documents.add_sample),
    ("/documents/address", downloads.add_address),
    ("/documents/jobs/{job}/cancel", downloads.cancel_job),
    ("/documents/jobs/{job}/dismiss", downloads.dismiss),
    ("/documents/{document}/cancel", documents.cancel),
    ("/documents/{document}/reprocess", documents.reprocess),
    ("/documents/{document}/delete", documents.delete),
    ("/system/dead/replay", letters.replay),
    ("/system/dead/drop", letters.drop),
    ("/system/engines", engines.add_engine),
    ("/system/engines/{name}/remove", engines.remove_engine),
    ("/system/jobs/{job}/cancel", jobs.cancel_job),
    ("/login", session.login),
    ("/logout", session.logout),
)


def build_router(desk: Desk) -> Router:
    """Return the addresses of the console."""
    routes = [Route(path, _served(desk, handler), methods=["GET"]) for path, handler in _GET]
    routes += [Route(path, _served(desk, handler), methods=["POST"]) for path, handler in _POST]
    return Router(routes, redirect_slashes=False)


def _served(desk: Desk, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        return await handler(Visit(desk, request, request.scope[SESSION]))

    return serve
