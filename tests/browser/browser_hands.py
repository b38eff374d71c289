"""What several tests of the page do by hand."""

import asyncio
import importlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from archive_bus import BusOptions, connect
from archive_contracts.agents import Source, Step
from archive_contracts.base import Message, Problem
from archive_contracts.conversations import ConversationSaved, RecordAnswer, RecordQuestion
from archive_contracts.streams import CONVERSATION_COMMANDS
from archive_testkit.system import ArchiveSystem

WAIT_MS = 60_000
DEEP = ("answer", "source", "letter", "message", "stream", "job", "prose")
"""Pages that show one thing, which has to be there."""

LONG_NAME = f"{'rates_of_all_countries_' * 6}final_final_signed.pdf"

PROSE = """Two ways, the second of them without a loop:

```python
def total(prices: list[float], *, tax: float = 0.19) -> float:
    \"\"\"Return the sum with tax.\"\"\"
    # Rounded once, at the end.
    return round(sum(prices) * (1 + tax), 2)
```

| Way | Lines | Exact |
|---|---|---|
| a loop | 5 | **yes** |
| `sum` | 1 | yes |

| Country | Standard | Reduced | Super-reduced | Zero | Parking | Since | Before | Paid by | Threshold |
|---|---|---|---|---|---|---|---|---|---|
| Luxembourg | 17 % | 8 % | 3 % | no | 14 % | 2024-01-01 | 16 % | the seller | 50 000 |

1. Read the prices.
2. Call `total`, as in [the manual](https://example.org/sum).
"""


def talk() -> list[Message]:
    """Return a conversation with all that an answer can show: prose, code, tables, steps, a long name, a failure."""
    asked = RecordQuestion(
        conversation_id="prose", turn_id="prose", mode="agent", text="How do I add up prices with tax?", asked_at=1.7e9
    )
    step = Step(
        step_number=1,
        thought="A sum, then tax.",
        action="calculator",
        action_input="(19.99 + 5) * 1.19",
        observation=f"29.7381, of {'one line that is longer than any window is wide, ' * 8}and a{'h' * 200}",
    )
    said = RecordAnswer(
        conversation_id="prose",
        turn_id="prose",
        status="done",
        text=PROSE,
        engine="bundled/smollm2",
        steps=(step,),
        sources=(Source(number=1, type="library", text="t", filename=LONG_NAME, document_id="gone", cited=True),),
        ended_at=1.7e9 + 8,
    )
    again = RecordQuestion(
        conversation_id="prose", turn_id="failed", mode="chat", text="And in Norway?", asked_at=1.7e9 + 20
    )
    problem = Problem(code="no_engine", message="No engine answers.", next_step="Start one, then retry.")
    failed = RecordAnswer(
        conversation_id="prose", turn_id="failed", status="failed", text="", error=problem, ended_at=1.7e9 + 30
    )
    return [asked, said, again, failed]


def kept(system: ArchiveSystem, *changes: Message) -> None:
    """Have changes to conversations made durable."""

    async def send() -> None:
        urls = system.run_info["bus_url"], system.run_info["state_url"]
        async with connect(*urls, BusOptions(service="console", grace_s=0.5)) as bus:
            for change in changes:
                await bus.request(change, ConversationSaved, to=CONVERSATION_COMMANDS, timeout=60.0)

    # Playwright keeps a loop of its own in this thread.
    with ThreadPoolExecutor(1) as other:
        other.submit(lambda: asyncio.run(send())).result()


def tabbed(page: Any, target: Any) -> None:
    """Walk by the tabulator alone until this is in focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if target.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"the tabulator does not reach {target}")


def focused(page: Any) -> str:
    """Return the id of what is in focus."""
    return str(page.evaluate("document.activeElement.id"))


def ask(page: Any, question: str, mode: str) -> None:
    """Ask as people do."""
    page.get_by_label(mode, exact=True).check(force=True)
    page.get_by_label("Your question").fill(question)
    page.keyboard.press("Enter")


def ended(page: Any) -> Any:
    """Return what stands under the last answer once it is complete."""
    return page.locator(".turn").last.get_by_role("button", name="Retry")


def ready(page: Any, name: str) -> None:
    """Wait until a document can be asked about."""
    page.locator("tr", has_text=name).first.locator(".state.ready").wait_for()


def drop(page: Any, files: list[Path]) -> None:
    """Drag files from the desktop onto the page, as the browser itself would be told."""
    browser = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 400, "data": data})


def holds(page: Any, true: str) -> None:
    """Wait until an expression holds. Playwright's own wait polls by eval, which the page's policy forbids."""
    for _ in range(600):
        if page.evaluate(true):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never: {true}")


def flaws(page: Any, part: str = "html") -> list[Any]:
    """Return what axe finds serious in a part of the page, and whether that scrolls sideways.

    Both schemes at both widths are looked at.
    """
    axe: Any = importlib.import_module("axe_playwright_python.sync_playwright").Axe()
    page.evaluate(axe.axe_script)
    found = list[Any]()
    for look in ((scheme, width) for scheme in ("light", "dark") for width in (1440, 390)):
        page.emulate_media(color_scheme=look[0])
        page.set_viewport_size({"width": look[1], "height": 844})
        page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        violations = page.evaluate("part => axe.run(part, {resultTypes: ['violations']})", part)["violations"]
        serious = [each for each in violations if each["impact"] in {"serious", "critical"}]
        found += [(look, each["id"], [node["html"][:120] for node in each["nodes"]][:3]) for each in serious]
        if (wide := page.evaluate("document.documentElement.scrollWidth")) > look[1]:
            found.append((look, "scrolls sideways", wide))
    return found
