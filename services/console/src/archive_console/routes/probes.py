"""Whether the console lives, and can serve."""

from starlette.responses import JSONResponse, Response

from archive_console.routes.visit import Visit

LATER = {"retry-after": "2"}
"""In seconds: for whoever asks again, not for the supervisor, which has its own pace."""


async def livez(visit: Visit) -> Response:
    """Answer while the process works."""
    del visit
    return JSONResponse({"status": "ok"})


async def readyz(visit: Visit) -> Response:
    """Answer whether what the pages need is there."""
    problems = {name: problem for name, check in visit.desk.ready.items() if (problem := await check())}
    if problems:
        return JSONResponse({"status": "unready", "problems": problems}, 503, headers=LATER)
    return JSONResponse({"status": "ok", "problems": problems})
