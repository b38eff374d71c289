"""What operators do on the page, and what others may not."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import redis

from archive_testkit.system import ArchiveSystem

KEY = "the-operators-own-key-of-this-test"


def test_dead_letter_is_replayed(page: Any, system: ArchiveSystem) -> None:
    with redis.Redis.from_url(str(system.run_info["bus_url"])) as server:  # pyright: ignore[reportUnknownMemberType]
        server.xadd("{chat.requests:0}", {"type": "chat.requested.v1", "data": "not json at all"})
    page.goto("/system/dead")
    page.get_by_role("link", name="Look into it").first.click()
    page.get_by_label("Reason").fill("the test mended it")
    page.get_by_role("button", name="Replay").click()
    page.goto("/system/actions")
    row = page.locator("tr", has_text="the test mended it")
    row.wait_for()
    assert "replayed dead letters" in row.inner_text()


def test_matching_letters_are_dropped(page: Any, system: ArchiveSystem) -> None:
    with redis.Redis.from_url(str(system.run_info["bus_url"])) as server:  # pyright: ignore[reportUnknownMemberType]
        for _ in range(2):
            server.xadd("{documents.commands:0}", {"type": "document.ingest.v1", "data": "no json"})
        server.xadd("{chat.requests:0}", {"type": "chat.requested.v1", "data": "not json, and kept"})
    page.goto("/system/dead?group=librarian&q=nothing-like-this")
    page.get_by_text("No dead letters match").wait_for()
    page.locator("#find").fill("documents.commands")
    page.keyboard.press("Enter")
    drop = page.get_by_role("button", name="Drop 2 letters")
    drop.wait_for()
    page.locator("#all-reason").fill("of a test")
    drop.click()
    page.get_by_text("No dead letters match").wait_for()
    assert "q=documents.commands" in page.url
    assert "group=librarian" in page.url
    page.goto("/system/dead")
    page.locator("tbody tr").first.wait_for()
    page.goto("/system/actions")
    assert "dropped dead letters" in page.locator("tr", has_text="of a test").inner_text()


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Generator[ArchiveSystem, None, None]:
    """A system behind keys."""
    home = tmp_path_factory.mktemp("closed") / "home"
    running = ArchiveSystem(home, options=("--ports", "console=0"), env={"GATEWAY_API_KEY": KEY}).start()
    yield running
    running.stop()


def entered(chromium: Any, system: ArchiveSystem, key: str) -> Any:
    page = chromium.new_context(base_url=system.run_info["console_url"]).new_page()
    page.goto("/")
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Log in").click()
    page.get_by_text("What would you like to know?").wait_for()
    return page


def test_tenants_never_see_each_other(chromium: Any, closed: ArchiveSystem, tmp_path: Path) -> None:
    keys = [made_key(closed, tenant) for tenant in ("acme", "globex")]
    first, second = (entered(chromium, closed, key) for key in keys)
    first.goto("/documents")
    file = {"name": "acme-secret.txt", "mimeType": "text/plain", "buffer": b"The safe of Acme opens with 1234."}
    first.locator("#file").set_input_files([file])
    first.get_by_role("button", name="Add", exact=True).click()
    first.locator(".state.ready").wait_for(timeout=60_000)
    document = first.get_by_role("link", name="acme-secret.txt").first.get_attribute("href")
    first.goto("/")
    first.get_by_label("Your question").fill("How does the safe open?")
    first.get_by_role("button", name="Ask", exact=True).click()
    first.get_by_role("button", name="Retry").wait_for(timeout=60_000)
    conversation = first.url.partition("#")[0]
    second.goto("/documents")
    second.get_by_text("No documents yet").wait_for()
    assert "safe" not in second.goto("/").text()
    assert second.goto(conversation).status == 404
    assert second.goto(document).status == 404
    assert second.goto("/system").status == 403


def made_key(system: ArchiveSystem, tenant: str) -> str:
    printed = system.command("keys", "create", tenant, "--tenant", tenant, "--json")
    return printed.partition('"key": "')[2].partition('"')[0]
