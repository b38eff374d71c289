"""Whether the console lives, and can serve."""

from starlette.responses import JSONResponse, Response

from archive_console.routes.visit import Visit


async def livez(visit: Visit) -> Response:
    """Answer while the process works."""
    del visit
    return JSONResponse({"status": "ok"})


async def readyz(visit: Visit) -> Response:
    """Answer whether what the pages need is there."""
    problems = {name: problem for name, check in visit.desk.ready.items() if (problem := await check())}
    return JSONResponse({"status": "unready" if problems else "ok", "problems": problems}, 503 if problems else 200)
