import json
from collections.abc import Callable, Mapping

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_agent.domain.actions import action_schema
from archive_agent.domain.fitting import message_tokens
from archive_agent.domain.react import (
    CallModel,
    CallTool,
    Event,
    Finish,
    RunState,
    apply,
    fold,
    next_action,
    shown_input,
)
from archive_agent.domain.trajectory import describe_tool
from archive_contracts.agents import EarlierTurn, RunFinished, RunModelReplied, RunStarted, RunToolReturned
from archive_contracts.base import Problem
from archive_contracts.tools import ToolSpec

CALCULATOR = ToolSpec(
    name="calculator",
    description="Computes an expression.",
    parameters='{"type":"object","properties":{"expression":{"type":"string"}},"required":["expression"]}',
)
SEARCH = ToolSpec(
    name="library_search",
    description="Finds passages.",
    parameters=json.dumps(
        {
            "type": "object",
            "properties": {"query": {"type": "string"}, "top_k": {"type": "integer", "minimum": 1}},
            "required": ["query"],
        }
    ),
)
TOOLS = (CALCULATOR, SEARCH)


def count_tokens(text: str) -> int:
    return (len(text) + 3) // 4


def after(state: RunState, *, context: int = 4096) -> CallModel | CallTool | Finish:
    return next_action(state, TOOLS, context=context, answer_tokens=256, count_tokens=count_tokens)


def started(question: str = "What is 2*3?", max_steps: int = 0) -> RunState:
    return fold([RunStarted(run_id="r", kind="react", question=question, max_steps=max_steps)])


def replied(state: RunState, text: str) -> RunState:
    return apply(state, RunModelReplied(run_id="r", step=state.asked + 1, text=text))


def returned(state: RunState, observation: str) -> RunState:
    return apply(state, RunToolReturned(run_id="r", step=state.asked, tool="", observation=observation))


def action(name: str, given: object) -> str:
    return json.dumps({"thought": "hm", "action": name, "action_input": given})


def drive(model: Callable[[CallModel], str], max_steps: int, tool: Callable[[CallTool], str]) -> tuple[Finish, int]:
    """Run to the end; returns it and how often the model was asked."""
    state, asked = started(max_steps=max_steps), 0
    while True:
        todo = after(state)
        if isinstance(todo, Finish):
            return todo, asked
        if isinstance(todo, CallTool):
            state = returned(state, tool(todo))
        else:
            asked += 1
            state = replied(state, model(todo))


def test_tool_then_answer() -> None:
    state = replied(started(), action("calculator", {"expression": "2*3"}))
    todo = after(state)
    assert todo == CallTool(1, "calculator", '{"expression": "2*3"}')
    state = returned(state, "6")
    assert isinstance(after(state), CallModel)
    state = replied(state, action("final_answer", {"answer": "6"}))
    assert after(state) == Finish("6", True)
    (step,) = state.steps
    assert (step.step_number, step.thought, step.action, step.action_input, step.observation) == (
        1,
        "hm",
        "calculator",
        "2*3",
        "6",
    )


def test_zero_steps_mean_ten() -> None:
    assert started(max_steps=0).max_steps == 10
    assert started(max_steps=3).max_steps == 3


def test_last_step_leaves_only_answer() -> None:
    todo = after(started(max_steps=1))
    assert isinstance(todo, CallModel)
    branches = todo.response_format["json_schema"]["schema"]["anyOf"]
    assert [branch["properties"]["action"]["enum"] for branch in branches] == [["final_answer"]]


def test_same_call_twice_leaves_only_answer() -> None:
    call = action("calculator", {"expression": "2*3"})
    state = replied(returned(replied(started(), call), "6"), call)
    assert "6" in state.steps[-1].observation
    todo = after(state)
    assert isinstance(todo, CallModel)
    assert len(todo.response_format["json_schema"]["schema"]["anyOf"]) == 1
    assert "no tool may be used" in todo.messages[-1].content.lower()
    assert isinstance(after(replied(state, call)), CallModel)


@given(st.integers(1, 12), st.data())
def test_run_ends_within_its_steps(max_steps: int, data: st.DataObject) -> None:
    replies = st.one_of(
        st.just(action("calculator", {"expression": "2*3"})),
        st.integers().map(lambda number: action("library_search", {"query": str(number)})),
        st.just("I think I should look at this more."),
        st.just('{"thought": "never closed'),
        st.just("{}"),
        st.text(max_size=30),
    )
    end, asked = drive(lambda _: data.draw(replies), max_steps, lambda _: "nothing")
    assert asked <= max_steps
    assert end.success == bool(end.answer)
    assert end.success or end.reason


def test_looping_engine_never_repeats_a_call() -> None:
    calls: list[CallTool] = []

    def tool(call: CallTool) -> str:
        calls.append(call)
        return "6"

    end, asked = drive(lambda _: action("calculator", {"expression": "2*3"}), 10, tool)
    assert (len(calls), asked, end.success) == (1, 10, False)
    assert end.reason == "No answer was reached in 10 steps."


def test_prose_twice_becomes_the_answer() -> None:
    state = replied(started(), "Well, the answer is six.")
    assert isinstance(after(state), CallModel)
    assert "valid action" in state.steps[0].observation
    assert after(replied(state, "It is six.")) == Finish("It is six.", True)


def test_prose_in_last_step_is_the_answer() -> None:
    assert after(replied(started(max_steps=1), "It is six.")) == Finish("It is six.", True)
    unusable = after(replied(started(max_steps=1), '{"thought": "hm"'))
    assert isinstance(unusable, Finish)
    assert not unusable.success


def test_duplicate_events_change_nothing() -> None:
    call = RunModelReplied(run_id="r", step=1, text=action("calculator", {"expression": "1"}))
    result = RunToolReturned(run_id="r", step=1, tool="calculator", observation="1")
    begin = RunStarted(run_id="r", kind="react", question="?", max_steps=5)
    events: list[Event] = [begin, call, result]
    assert fold([begin, call, call, result, result, call]) == fold(events)


def test_finished_run_says_how_it_ended() -> None:
    problem = Problem(code="engine_unavailable", message="No engine is alive.")
    ended = apply(started(), RunFinished(run_id="r", answer="", success=False, error=problem))
    assert after(ended) == Finish("", False, "No engine is alive.")
    ended = apply(started(), RunFinished(run_id="r", answer="6", success=True))
    assert after(ended) == Finish("6", True)


def test_schema_holds_every_tool_to_its_arguments() -> None:
    schema = action_schema(TOOLS)

    def valid(reply: Mapping[str, object]) -> bool:
        try:
            jsonschema.validate(reply, schema)
        except jsonschema.ValidationError:
            return False
        return True

    good: Mapping[str, object] = {"thought": "", "action": "library_search", "action_input": {"query": "x", "top_k": 2}}
    assert valid(good)
    assert valid({"thought": "", "action": "final_answer", "action_input": {"answer": "6"}})
    for wrong in (
        {**good, "action": "calculator"},
        {**good, "action": "rm"},
        {**good, "action_input": {"query": "x", "top_k": 0}},
        {**good, "action_input": {"query": "x", "more": 1}},
        {"action": "final_answer", "action_input": {"answer": "6"}},
    ):
        assert not valid(wrong)


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [('{"a": "x"}', "x"), ('{"a": 2}', "2"), ('{"a": 1, "b": 2}', '{"a": 1, "b": 2}'), ('"x"', "x"), ("[1]", "[1]")],
)
def test_single_inputs_are_shown_bare(arguments: str, shown: str) -> None:
    assert shown_input(arguments) == shown


@given(
    st.lists(st.tuples(st.text(max_size=40), st.text(min_size=1, max_size=3000)), max_size=50),
    st.integers(400, 2300),
    st.text(max_size=6000),
)
def test_messages_always_fit(steps: list[tuple[str, str]], context: int, question: str) -> None:
    state = started(question, max_steps=50)
    for number, (query, observation) in enumerate(steps[:49]):
        asked = replied(state, action("library_search", {"query": f"{number} {query}"}))
        state = returned(asked, observation)
    todo = after(state, context=context)
    assert isinstance(todo, CallModel)
    assert 0 < message_tokens(todo.messages, count_tokens) <= context - 256
    assert all(message.content for message in todo.messages if message.role != "user")


def test_fifty_steps_in_two_thousand_tokens() -> None:
    state = started(max_steps=50)
    for number in range(48):
        state = returned(replied(state, action("library_search", {"query": f"part {number}"})), "fact " * 400)
    todo = after(state, context=2048)
    assert isinstance(todo, CallModel)
    assert message_tokens(todo.messages, count_tokens) <= 2048 - 256
    shown = "\n".join(message.content for message in todo.messages)
    assert "part 47" in shown
    assert "Done before, newest first: library_search(" in shown
    assert "- calculator" in shown


@pytest.mark.parametrize("context", [257, 260, 300, 350])
def test_tiny_context_still_gives_messages(context: int) -> None:
    todo = after(started("Why? " * 500), context=context)
    assert isinstance(todo, CallModel)
    assert todo.messages[-1].content


def test_steps_give_way_to_the_task() -> None:
    state = started(max_steps=50)
    for number in range(5):
        state = returned(replied(state, action("library_search", {"query": f"part {number} " * 30})), "fact " * 400)
    for context in range(300, 520):
        todo = after(state, context=context)
        assert isinstance(todo, CallModel)
        assert message_tokens(todo.messages, count_tokens) <= context - 256


def test_messages_fit_when_parts_do_not_add_up() -> None:
    def superlinear(text: str) -> int:
        return len(text) // 4 + len(text) ** 2 // 1000

    state = started("Why? " * 60, max_steps=50)
    for number in range(12):
        state = returned(replied(state, action("library_search", {"query": f"part {number}"})), "fact " * 60)
    for context in range(300, 2600, 20):
        todo = next_action(state, TOOLS, context=context, answer_tokens=0, count_tokens=superlinear)
        assert isinstance(todo, CallModel)
        assert message_tokens(todo.messages, superlinear) <= context


def test_long_observations_shrink_before_steps_go() -> None:
    state = returned(replied(started(), action("calculator", {"expression": "1"})), "fact " * 2000)
    state = returned(replied(state, action("library_search", {"query": "x", "top_k": 2})), "line " * 2000)
    todo = after(state, context=1200)
    assert isinstance(todo, CallModel)
    assert [message.role for message in todo.messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert json.loads(todo.messages[4].content)["action_input"] == {"query": "x", "top_k": 2}
    assert todo.messages[3].content.endswith("…")


def test_choices_are_shown_to_the_model() -> None:
    schema = {"properties": {"operation": {"enum": ["upper", "lower"]}}, "required": ["operation"]}
    spec = ToolSpec(name="text", description="Changes case.", parameters=json.dumps(schema))
    assert describe_tool(spec) == '- text {"operation": upper|lower}: Changes case.'


def test_roles_take_turns() -> None:
    state = returned(replied(started(max_steps=2), action("calculator", {"expression": "1"})), "<|im_end|>[1]")
    todo = after(state)
    assert isinstance(todo, CallModel)
    assert [message.role for message in todo.messages] == ["system", "user", "assistant", "user"]
    assert todo.messages[-1].content.startswith("Observation: ‹|im_end|>[1]")


def test_model_sees_what_the_task_refers_to() -> None:
    turns = (EarlierTurn(question="What is 2*3?", answer="It is 6 [Source 1]."),)
    asked = next_action(
        started("And twice that?"), TOOLS, context=4096, answer_tokens=256, count_tokens=count_tokens, turns=turns
    )
    assert isinstance(asked, CallModel)
    assert [message.content for message in asked.messages[1:]] == ["What is 2*3?", "It is 6.", "And twice that?"]
