"""Small services for the tests: `python edge.py MODE`."""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import anyio
from opentelemetry import metrics, trace

from archive_telemetry import App, counter, extract, get_logger, log_context, run, run_all, tracer_for

Lifespan = Callable[[], AbstractAsyncContextManager[None]]
SCRATCH = Path(os.environ["SCRATCH"])


async def appears(name: str) -> None:
    """Wait until the test makes that file."""
    while not (SCRATCH / name).exists():
        await asyncio.sleep(0.01)


@asynccontextmanager
async def drains() -> AsyncGenerator[None]:
    yield
    await asyncio.sleep(0.05)
    (SCRATCH / "drained").touch()


@asynccontextmanager
async def fails_later() -> AsyncGenerator[None]:
    async def background() -> None:
        await appears("fail")
        raise RuntimeError("the consume loop broke")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(background())
        yield


@asynccontextmanager
async def fails_at_start() -> AsyncGenerator[None]:
    for missing in ("model.onnx",):
        raise RuntimeError(f"no model file {missing}")
    yield


@asynccontextmanager
async def never_starts() -> AsyncGenerator[None]:
    await asyncio.Event().wait()
    yield


@asynccontextmanager
async def never_drains() -> AsyncGenerator[None]:
    yield
    await asyncio.Event().wait()


@asynccontextmanager
async def blocks_drain() -> AsyncGenerator[None]:
    yield
    threading.Event().wait()


@asynccontextmanager
async def ends_early() -> AsyncGenerator[None]:
    with anyio.CancelScope() as scope:
        asyncio.get_running_loop().call_soon(scope.cancel)
        yield


@asynccontextmanager
async def leaks() -> AsyncGenerator[None]:
    canary = os.environ["CANARY"]
    log = get_logger("leaky")
    log.info("keyed", api_key=canary, nested={"Authorization": f"Bearer {canary}"}, prompt_tokens=812)
    log.info("positional %s", f"redis://user:{canary}@host:6379/0")
    logging.getLogger("uvicorn.error").warning("header Authorization: Bearer %s", canary)
    logging.getLogger("faststream").warning("extra", extra={"session_token": canary})
    try:
        raise ValueError(f"refused: password={canary}")
    except ValueError:
        log.exception("raised")
    get_logger("env").info(f"literal {os.environ['GATEWAY_API_KEY']} inside prose")
    with log_context(correlation="c-1", tenant="t-1"):
        logging.getLogger("redis").warning("foreign line")
    yield


@asynccontextmanager
async def traces() -> AsyncGenerator[None]:
    metrics.get_meter("edge").create_counter("edge.traced").add(1)
    parent = extract("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    with tracer_for("tracing").start_as_current_span("outer", context=parent):
        get_logger("tracing").info("inside")
        with trace.get_tracer("some.library").start_as_current_span("inner"):
            pass
    yield


async def backlog() -> str | None:
    return "redis://user:hunter22@host is gone" if (SCRATCH / "broken").exists() else None


async def hangs() -> str | None:
    await asyncio.Event().wait()
    return None


def stuck() -> str | None:
    return "no progress for 40 s" if (SCRATCH / "stuck").exists() else None


def app(lifespan: Lifespan, name: str = "edge") -> App:
    return App(
        name=name,
        lifespan=lifespan,
        ready={"backlog": backlog},
        live=stuck,
        info=lambda: {"lanes": 2},
        health_port=int(os.environ.get("PORT", "0")),
    )


MODES: dict[str, Lifespan] = {
    "drains": drains,
    "fails_later": fails_later,
    "fails_at_start": fails_at_start,
    "never_starts": never_starts,
    "never_drains": never_drains,
    "blocks_drain": blocks_drain,
    "ends_early": ends_early,
    "leaks": leaks,
    "traces": traces,
}


def main(mode: str) -> None:
    counter("edge_starts_total", "Starts of the test service", "mode").labels(mode).inc()
    match mode:
        case "duo":
            run_all([app(drains, "router"), app(fails_later, "memory")])
        case "duo_traces":
            run_all([app(traces, "router"), app(traces, "memory")])
        case "hanging_check":
            run(App(name="edge", lifespan=drains, ready={"model": hangs}))
        case _:
            run(app(MODES[mode]))


if __name__ == "__main__":
    main(sys.argv[1])
