"""What the agent knows of engines and tools, from their heartbeats."""

from archive_agent.domain.surroundings import USUAL_CONTEXT, Contexts, Toolbox
from archive_contracts.engine import EngineLeft, EngineRegistered, ModelCard
from archive_contracts.tools import ToolRunnerLeft, ToolSpec, ToolsRegistered


def runner(name: str, *tools: str, advanced: bool = False) -> ToolsRegistered:
    specs = tuple(ToolSpec(name=tool, description="d", parameters="{}", advanced=advanced) for tool in tools)
    return ToolsRegistered(runner=name, tools=specs, heartbeat_s=1)


def engine(worker: str, context: int, *, model: str = "m") -> EngineRegistered:
    card = ModelCard(id=model, context=context)
    return EngineRegistered(
        worker=worker, engine="e", pool="small", models=(card,), capabilities=("chat",), slots=1, heartbeat_s=1
    )


def names(box: Toolbox, now: float, *, advanced: bool = True) -> list[str]:
    return [tool.name for tool in box.at(now, advanced=advanced)]


def test_tools_of_two_runners_are_offered_once() -> None:
    box = Toolbox()
    box.hear(runner("a", "sum", "date"), now=0)
    box.hear(runner("b", "sum", "text"), now=0)
    assert names(box, 1) == ["sum", "date", "text"]


def test_silent_runner_offers_nothing() -> None:
    box = Toolbox()
    box.hear(runner("a", "sum"), now=0)
    assert [names(box, now) for now in (3, 3.1)] == [["sum"], []]


def test_runner_that_left_offers_nothing() -> None:
    box = Toolbox()
    box.hear(runner("a", "sum"), now=0)
    box.hear(ToolRunnerLeft(runner="a"), now=1)
    assert names(box, 1) == []


def test_advanced_tools_are_asked_for() -> None:
    box = Toolbox()
    box.hear(runner("a", "search", advanced=True), now=0)
    assert [names(box, 0, advanced=advanced) for advanced in (False, True)] == [[], ["search"]]


def test_prompt_must_fit_the_smallest_engine() -> None:
    known = Contexts()
    known.hear(engine("a", 8192), now=0)
    known.hear(engine("b", 2048, model="tiny"), now=0)
    assert [known.smallest(1), known.smallest(1, model="m"), known.smallest(9)] == [2048, 8192, USUAL_CONTEXT]


def test_engine_that_left_limits_nothing() -> None:
    known = Contexts()
    known.hear(engine("a", 2048), now=0)
    known.hear(EngineLeft(worker="a", pool="small"), now=1)
    assert known.smallest(1) == USUAL_CONTEXT
