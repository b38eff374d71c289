"""Files on their way into the library."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from browser_hands import drop, holds, ready

from archive_testkit.documents import FACTS, FILLER, pdf


@contextmanager
def throttled(page: Any, bytes_s: int) -> Generator[None, None, None]:
    """Let the browser send no more than this in a second."""
    browser = page.context.new_cdp_session(page)
    browser.send("Network.enable")
    limits = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_s}
    browser.send("Network.emulateNetworkConditions", limits)
    yield
    browser.detach()


def test_file_is_cancelled_and_one_fails_alone(page: Any, tmp_path: Path) -> None:
    names = ["long.bin", "hollow.txt", "far.txt", "near.txt", "last.txt"]
    for name in names:
        (tmp_path / name).write_bytes(b"" if name == "hollow.txt" else f"The {name} is read. ".encode())
    (tmp_path / "long.bin").write_bytes(bytes(2**21))
    page.goto("/")
    row = page.locator("#sending li", has_text="long.bin")
    with throttled(page, 50_000):
        drop(page, [tmp_path / name for name in names])
        holds(page, "document.querySelector('#sending progress')?.value > 0")
        row.get_by_role("button", name="Do not send long.bin").click()
        row.wait_for(state="detached")
    page.get_by_role("heading", name="A file was not sent").wait_for()
    assert page.locator("#sending li").count() == 1
    assert "No content: 'hollow.txt'" in page.locator("#sending .failed").inner_text()
    with page.expect_response("**/documents"):
        page.get_by_role("button", name="Send hollow.txt again").click()
    page.locator("#sending .failed", has_text="No content").wait_for()
    page.get_by_role("link", name="Show the documents").click()
    for name in names[2:]:
        ready(page, name)
    assert page.locator("tr", has_text="long.bin").count() == 0


def test_dropped_files_are_read_and_cancelled(page: Any, tmp_path: Path) -> None:
    page.goto("/documents")
    names = [f"drop-{number}.pdf" for number in range(4)] + ["drop-big.txt"]
    for number, name in enumerate(names[:4]):
        (tmp_path / name).write_bytes(pdf(FACTS[number : number + 1], pages=number + 1))
    (tmp_path / names[4]).write_text("\n".join(f"{number}. {FILLER}" for number in range(12_000)))
    drop(page, [tmp_path / name for name in names])
    big = page.locator("tr", has_text="drop-big.txt")
    big.get_by_role("button", name="Cancel").click()
    big.get_by_role("button", name="Cancel").wait_for(state="detached")
    assert big.locator(".state.ready").count() == 0
    for name in names[:4]:
        ready(page, name)


def test_file_beyond_the_limit_stays_here(page: Any) -> None:
    sent: list[str] = []

    def note(request: Any) -> None:
        if request.method == "POST":
            sent.append(request.url)

    page.goto("/documents")
    page.on("request", note)
    page.evaluate("""() => {
        const file = new File(["x"], "huge.bin");
        Object.defineProperty(file, "size", { value: 10 * most });
        send([file]);
    }""")
    page.locator("#sending .failed", has_text="larger than the limit of 210 MB").wait_for()
    page.get_by_role("button", name="Close the files that were not sent").click()
    page.locator("#sending").wait_for(state="hidden")
    assert sent == []


def test_dropped_folder_gives_its_files(page: Any, tmp_path: Path) -> None:
    folder = tmp_path / "papers"
    deep = folder.joinpath(*"abcdefgh")
    deep.mkdir(parents=True)
    (folder / ".git").mkdir()
    for path in (folder / "upper.txt", folder / "a" / "inner.md", folder / ".git" / "hidden.txt", deep / "lowest.txt"):
        path.write_text(f"The {path.name} of the folder is read.")
    (folder / "photo.png").write_bytes(b"\x89PNG")
    page.goto("/")
    drop(page, [folder])
    page.locator("#sending .failed", has_text="1 × file without words").wait_for()
    assert "1 × folder deeper than 8 levels" in page.locator("#sending .failed").inner_text()
    page.get_by_role("heading", name="2 files were not sent").wait_for()
    page.get_by_role("link", name="Show the documents").click()
    for name in ("upper.txt", "inner.md"):
        ready(page, name)
    names = page.locator("tbody th").all_inner_texts()
    assert [name for name in names if name in {"hidden.txt", "lowest.txt", "photo.png", "papers"}] == []


def test_folder_of_too_many_files_sends_none(page: Any, tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    (tmp_path / "none").mkdir()
    for number in range(201):
        (tmp_path / "many" / f"many-{number}.txt").write_text(f"Number {number}.")
    page.goto("/documents")
    drop(page, [tmp_path / "many"])
    page.get_by_text("This is more than 200 files: nothing was sent.").wait_for()
    drop(page, [tmp_path / "none"])
    page.get_by_text("The folder is empty.").wait_for()
    assert page.locator("tr", has_text="many-").count() == 0
