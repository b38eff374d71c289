"""Turns: fair between tenants, interactive before batch, nobody starves."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_contracts.chat import Priority
from archive_router.domain.fair import WEIGHTS, FairQueue

priorities = st.sampled_from(tuple(WEIGHTS))
tenants = st.sampled_from("abc")


def filled(*items: tuple[str, Priority]) -> FairQueue[str]:
    queue = FairQueue[str](limit=10_000)
    for tenant, priority in items:
        queue.push(tenant, tenant=tenant, priority=priority)
    return queue


def times(tenant: str, priority: Priority, count: int) -> list[tuple[str, Priority]]:
    return [(tenant, priority)] * count


def drained(queue: FairQueue[str]) -> list[str]:
    return [item for _ in range(len(queue)) if (item := queue.pop()) is not None]


def test_newcomer_passes_the_greedy() -> None:
    queue = filled(*times("greedy", "interactive", 100))
    assert (
        drained(filled(*times("greedy", "interactive", 100), *times("late", "interactive", 1)))[:3].count("late") == 1
    )
    for _ in range(50):
        queue.pop()
    assert queue.ahead("late", "interactive") == 1
    queue.push("late", tenant="late", priority="interactive")
    assert "late" in (queue.pop(), queue.pop())


def test_interactive_goes_first_and_batch_does_not_starve() -> None:
    queue = filled(*times("b", "batch", 20), *times("i", "interactive", 80))
    first = drained(queue)[:18]
    assert Counter(first)["i"] == 16
    assert Counter(first)["b"] == 2


def test_idle_class_saves_up_nothing() -> None:
    queue = filled(*times("i", "interactive", 50))
    for _ in range(40):
        queue.pop()
    for _ in range(10):
        queue.push("b", tenant="b", priority="batch")
    assert Counter(queue.pop() for _ in range(5))["b"] <= 1


def test_tenant_leaves_room_for_others() -> None:
    queue = FairQueue[str](limit=10)
    while queue.has_room("greedy"):
        queue.push("x", tenant="greedy", priority="batch")
    assert len(queue) == 5
    assert queue.has_room("other")


def test_withdrawn_item_is_passed_over() -> None:
    queue = FairQueue[str](limit=10)
    tickets = [queue.push(name, tenant=name, priority="interactive") for name in "abc"]
    queue.withdraw(tickets[0])
    queue.withdraw(tickets[0])
    assert (len(queue), queue.pop(), queue.pop(), queue.pop()) == (2, "b", "c", None)


@given(st.lists(st.tuples(tenants, priorities), max_size=40))
def test_everything_comes_out_once_in_order(items: list[tuple[str, Priority]]) -> None:
    queue = FairQueue[tuple[str, Priority, int]](limit=10_000)
    for number, (tenant, priority) in enumerate(items):
        queue.push((tenant, priority, number), tenant=tenant, priority=priority)
    found = [item for _ in items if (item := queue.pop())]
    assert sorted(item[2] for item in found) == list(range(len(items)))
    assert queue.pop() is None
    for flow in {(tenant, priority) for tenant, priority in items}:
        numbers = [number for tenant, priority, number in found if (tenant, priority) == flow]
        assert numbers == sorted(numbers)


@given(st.dictionaries(tenants, st.integers(1, 30), min_size=1), priorities)
def test_backlogged_tenants_get_equal_turns(waiting: dict[str, int], priority: Priority) -> None:
    queue = filled(*[item for tenant, count in waiting.items() for item in times(tenant, priority, count)])
    turns: Counter[str] = Counter()
    for tenant in drained(queue):
        turns[tenant] += 1
        left = [name for name, count in waiting.items() if turns[name] < count]
        served = [turns[name] for name in left]
        assert not served or max(served) - min(served) <= 1


@given(st.lists(st.tuples(tenants, priorities), max_size=40), tenants, priorities)
def test_ahead_is_a_bound(items: list[tuple[str, Priority]], tenant: str, priority: Priority) -> None:
    queue = filled(*items)
    ahead = queue.ahead(tenant, priority)
    queue.push("mine", tenant=tenant, priority=priority)
    # The classes' turns may be out of step by one round.
    assert drained(queue).index("mine") <= ahead + max(WEIGHTS.values())


@given(st.lists(st.one_of(tenants, st.integers(0, 60)), max_size=60))
def test_room_is_shared_whatever_happens(steps: list[str | int]) -> None:
    queue, tickets = FairQueue[int](limit=8), list[int]()
    for step in steps:
        if isinstance(step, str) and queue.has_room(step):
            tickets.append(queue.push(len(tickets), tenant=step, priority="batch"))
        elif isinstance(step, int) and step < len(tickets):
            queue.withdraw(tickets[step])
        elif isinstance(step, int):
            queue.pop()
        assert 0 <= len(queue) <= 7
        assert queue.has_room("new")


@pytest.mark.parametrize("priority", WEIGHTS)
def test_empty_queue_has_nothing_ahead(priority: Priority) -> None:
    assert FairQueue[int](limit=1).ahead("a", priority) == 0
