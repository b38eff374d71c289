"""ReAct runs on a real bus, with the real tool runner and a model that speaks from a script."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from agent_peers import Gateway, Memory, Router, action, passage

from archive_agent.handlers import react
from archive_contracts.agents import (
    AgentCompleted,
    ModelUse,
    RunAgent,
    RunFinished,
    RunModelReplied,
    RunStarted,
    RunToolReturned,
    Step,
)
from archive_contracts.base import Message, Problem
from archive_contracts.streams import RUNS_JOURNAL
from archive_telemetry import App
from archive_testkit.waiting import eventually
from archive_tool_runner.app import build as build_tool_runner
from archive_tool_runner.settings import Settings as ToolRunnerSettings

SUM = action("calculator", expression="6*7")
ANSWER = action("final_answer", answer="It is 42.")


def task(**chosen: object) -> RunAgent:
    command: dict[str, object] = {"run_id": "r1", "question": "What is 6*7?"}
    return RunAgent.model_validate(command | chosen)


@pytest.fixture
async def tools(redis_url: str, tmp_path: Path) -> AsyncIterator[App]:
    urls = {"bus_url": redis_url, "state_url": redis_url, "blobs_url": f"file://{tmp_path}/blobs", "grace_s": 0.5}
    app = build_tool_runner(ToolRunnerSettings(**urls, heartbeat_s=1.0))  # pyright: ignore[reportArgumentType]
    async with app.lifespan():
        yield app


def kinds(journal: list[Message]) -> list[type[Message]]:
    return [type(event) for event in journal]


def offered(body: dict[str, Any]) -> set[str]:
    """The actions that a request's schema leaves to the model."""
    branches = body["response_format"]["json_schema"]["schema"]["anyOf"]
    return {branch["properties"]["action"]["enum"][0] for branch in branches}


@pytest.mark.usefixtures("agent", "tools")
async def test_tool_result_leads_to_answer(gateway: Gateway, router: Router) -> None:
    router.script = [SUM, ANSWER]
    done = await gateway.ask(task(), AgentCompleted)
    journal = await gateway.journal("r1")
    step = Step(step_number=1, thought="I use calculator.", action="calculator", action_input="6*7", observation="42")
    end = AgentCompleted(run_id="r1", answer="It is 42.", steps=(step,), engine="scripted/parrot", used=done.used)
    assert done == end
    [used] = done.used
    assert (used.model, used.requests, used.cut, used.estimated) == ("parrot", 2, 0, 2)
    assert used.prompt_tokens > used.completion_tokens > 0
    assert kinds(journal) == [RunStarted, RunModelReplied, RunToolReturned, RunModelReplied, RunFinished]
    assert journal[0] == RunStarted(run_id="r1", kind="react", question="What is 6*7?", max_steps=10)
    assert journal[2] == RunToolReturned(run_id="r1", step=1, tool="calculator", observation="42")
    assert "Observation: 42" in router.bodies[1]["messages"][-1]["content"]
    assert set(router.requests[0].needs) == {"chat", "json_schema"}


@pytest.mark.usefixtures("agent", "tools")
@pytest.mark.parametrize("advanced", [False, True])
async def test_schema_offers_the_registered_tools(gateway: Gateway, router: Router, advanced: bool) -> None:
    router.script = [ANSWER]
    await gateway.ask(task(advanced=advanced), AgentCompleted)
    actions = offered(router.bodies[0])
    assert {"calculator", "current_time", "final_answer"} <= actions
    assert ({"library_search", "memory_search"} <= actions) is advanced


@pytest.mark.usefixtures("agent", "tools")
async def test_advanced_run_reads_the_library(gateway: Gateway, router: Router, memory: Memory) -> None:
    memory.hits = (passage("The harbour crane lifts 40 tonnes."),)
    router.script = [action("library_search", query="crane", top_k=1), ANSWER]
    done = await gateway.ask(task(advanced=True), AgentCompleted)
    assert done.steps[0].observation == "harbour.pdf, p. 1: The harbour crane lifts 40 tonnes."
    assert json.loads(done.steps[0].action_input) == {"query": "crane", "top_k": 1}


@pytest.mark.usefixtures("agent", "tools")
async def test_refused_call_is_an_observation(gateway: Gateway, router: Router) -> None:
    router.script = [action("calculator", formula="6*7"), action("telescope", at="Mars"), SUM, ANSWER]
    done = await gateway.ask(task(), AgentCompleted)
    refused = [event for event in await gateway.journal("r1") if isinstance(event, RunToolReturned) and not event.ok]
    assert done.success
    assert [step.action for step in done.steps] == ["calculator", "telescope", "calculator"]
    assert "Expected" in done.steps[0].observation
    assert "Use one of" in done.steps[1].observation
    assert len(refused) == 2


@pytest.mark.usefixtures("tools")
async def test_stopped_run_goes_on_elsewhere(wired: Callable[..., App], gateway: Gateway, router: Router) -> None:
    router.script = [SUM, None, ANSWER]
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(gateway.ask(task(), AgentCompleted))
        async with wired(grace_s=0.1).lifespan():
            await eventually(lambda: router.hanging)
        async with wired().lifespan():
            done = await asking
    journal = await gateway.journal("r1")
    assert (done.answer, done.success, len(done.steps)) == ("It is 42.", True, 1)
    assert kinds(journal) == [RunStarted, RunModelReplied, RunToolReturned, RunModelReplied, RunFinished]
    assert [event.step for event in journal if isinstance(event, RunModelReplied)] == [1, 2]
    assert len(router.requests) == 3
    # What the process before used, as it wrote it down, and what this one used.
    assert [(used.model, used.requests) for used in done.used] == [("parrot", 2)]
    await eventually(lambda: router.cancelled)


@pytest.mark.usefixtures("agent", "tools")
async def test_ended_run_only_answers_again(gateway: Gateway, router: Router) -> None:
    problem = Problem(code="no_engine", message="No engine is alive.", status=503)
    earlier = (
        RunStarted(run_id="r1", kind="react", question="What is 6*7?", max_steps=10),
        RunModelReplied(run_id="r1", step=1, text=SUM, engine="old/owl"),
        RunToolReturned(run_id="r1", step=1, tool="calculator", observation="42"),
        RunFinished(run_id="r1", answer="", success=False, error=problem),
    )
    for place, event in zip(("started", "model/1", "tool/1", "finished"), earlier, strict=True):
        await gateway.bus.append(event, to=RUNS_JOURNAL, entity="r1", id=f"r1/{place}")
    done = await gateway.ask(task(), AgentCompleted)
    assert (done.success, done.error, done.engine, len(done.steps)) == (False, problem, "old/owl", 1)
    assert router.requests == []
    assert await gateway.journal("r1") == list(earlier)


@pytest.mark.usefixtures("agent", "tools")
async def test_looping_model_comes_to_an_end(gateway: Gateway, router: Router) -> None:
    router.script = [SUM]
    done = await gateway.ask(task(max_steps=4), AgentCompleted)
    returned = [event for event in await gateway.journal("r1") if isinstance(event, RunToolReturned)]
    assert not done.success
    assert done.error
    assert (done.error.code, done.error.status) == ("no_answer", 422)
    assert (len(router.requests), len(returned)) == (4, 1)
    assert offered(router.bodies[-1]) == {"final_answer"}


@pytest.mark.usefixtures("agent", "tools")
async def test_babbling_model_comes_to_an_end(gateway: Gateway, router: Router) -> None:
    router.script = ["It is surely 42, I would say."]
    done = await gateway.ask(task(), AgentCompleted)
    assert (done.success, done.answer) == (True, "It is surely 42, I would say.")
    assert len(router.requests) == 2


@pytest.mark.usefixtures("agent", "tools")
async def test_failing_engine_ends_the_run(gateway: Gateway, router: Router) -> None:
    problem = Problem(code="no_engine", message="No engine is alive.", next_step="Start one.", status=503)
    router.script = [SUM, problem]
    done = await gateway.ask(task(), AgentCompleted)
    finished = (await gateway.journal("r1"))[-1]
    assert (done.success, done.error, len(done.steps)) == (False, problem, 1)
    assert finished == RunFinished(run_id="r1", answer="", success=False, error=problem, used=done.used)
    # The call that broke off is known by what was asked for, the one before it by the model that answered.
    assert [(used.model, used.requests, used.cut) for used in done.used] == [("parrot", 1, 0), ("auto", 1, 1)]


@pytest.mark.usefixtures("agent", "tools")
async def test_cancel_ends_run_and_model(gateway: Gateway, router: Router) -> None:
    router.script = [SUM, None]
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(gateway.ask(task(), AgentCompleted))
        await eventually(lambda: router.hanging)
        await gateway.bus.cancel("r1")
        await eventually(lambda: router.cancelled)
        done = await asking
    finished = (await gateway.journal("r1"))[-1]
    assert (done.success, done.error and done.error.code, len(done.steps)) == (False, "cancelled", 1)
    assert [(used.model, used.requests, used.cut) for used in done.used] == [("parrot", 1, 0), ("auto", 1, 1)]
    assert isinstance(finished, RunFinished)
    assert (finished.error, finished.used) == (done.error, done.used)


async def test_cancel_forgets_no_use_of_others(wired: Callable[..., App], gateway: Gateway) -> None:
    used = ModelUse(model="owl", prompt_tokens=30, completion_tokens=3)
    started = RunStarted(run_id="r1", kind="react", question="What is 6*7?", max_steps=10)
    replied = RunModelReplied(run_id="r1", step=1, text=SUM, engine="old/owl", used=used)
    for place, event in (("started", started), ("model/1", replied)):
        await gateway.bus.append(event, to=RUNS_JOURNAL, entity="r1", id=f"r1/{place}")
    await gateway.bus.cancel("r1")
    async with wired().lifespan():
        done = await gateway.ask(task(), AgentCompleted)
    finished = (await gateway.journal("r1"))[-1]
    assert isinstance(finished, RunFinished)
    assert done.used == finished.used == (used,)


async def test_cancelled_task_is_not_begun(wired: Callable[..., App], gateway: Gateway, router: Router) -> None:
    await gateway.bus.cancel("r1")
    async with wired().lifespan():
        done = await gateway.ask(task(), AgentCompleted)
    assert done.error
    assert (done.error.code, done.steps, router.requests) == ("cancelled", (), [])


@pytest.mark.usefixtures("agent")
async def test_run_without_tools_still_answers(
    gateway: Gateway, router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(react, "HEARING_S", 0.1)
    router.script = [ANSWER]
    done = await gateway.ask(task(), AgentCompleted)
    assert (done.answer, done.steps) == ("It is 42.", ())
    assert offered(router.bodies[0]) == {"final_answer"}


@pytest.mark.usefixtures("agent")
async def test_silent_tool_is_an_observation(gateway: Gateway, router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(react, "HEARING_S", 0.1)
    monkeypatch.setattr(react, "TOOL_TIMEOUT_S", 0.2)
    router.script = [SUM, ANSWER]
    done = await gateway.ask(task(), AgentCompleted)
    assert done.success
    assert done.steps[0].observation.startswith("The tool did not answer")
