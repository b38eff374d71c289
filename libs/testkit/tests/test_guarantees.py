"""Proofs are recorded and become a table."""

import json
from pathlib import Path

import pytest

from archive_testkit.guarantees import BEGIN, END, GUARANTEES, rewrite, table, version_of
from archive_testkit.servers import server_binary

pytest_plugins = ["pytester"]

MARKED = """
import pytest

@pytest.mark.guarantee("G2", "G3")
def test_something_holds(figure):
    figure("reclaim", 1.25, "s")

@pytest.mark.guarantee("G5")
@pytest.mark.parametrize("backend", ["memory", "server"])
def test_something_fails(backend):
    assert backend == "memory"

def test_unmarked():
    pass

@pytest.mark.long
@pytest.mark.guarantee("G1")
def test_of_minutes():
    pass
"""


def proof(name: str, test: str, *figures: str, passed: bool = True, server: str = "Valkey 9") -> dict[str, object]:
    return {"guarantee": name, "test": test, "server": server, "passed": passed, "figures": list(figures)}


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_marked_tests_are_recorded(pytester: pytest.Pytester, workers: list[str]) -> None:
    pytester.makepyfile(MARKED)
    words = ["-p", "archive_testkit.plugin", "--record-guarantees", "out.json", *workers]
    pytester.runpytest_subprocess(*words).assert_outcomes(passed=4, failed=1)
    found = json.loads((pytester.path / "out.json").read_text())
    told = sorted((each["guarantee"], each["test"], each["passed"], tuple(each["figures"])) for each in found)
    assert told == [
        ("G1", "test_of_minutes", True, ()),
        ("G2", "test_something_holds", True, ("reclaim 1.25 s",)),
        ("G3", "test_something_holds", True, ("reclaim 1.25 s",)),
        ("G5", "test_something_fails", False, ()),
    ]
    assert {each["server"] for each in found} == {version_of(server_binary())}


def test_long_ones_wait_for_a_record(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(MARKED)
    result = pytester.runpytest_subprocess("-p", "archive_testkit.plugin", "-rs")
    result.assert_outcomes(passed=3, failed=1, skipped=1)
    result.stdout.fnmatch_lines(["*make guarantees runs it*"])


def test_unknown_guarantee_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makepyfile('import pytest\n\n@pytest.mark.guarantee("G99")\ndef test_it():\n    pass\n')
    result = pytester.runpytest_subprocess("-p", "archive_testkit.plugin")
    assert result.ret != 0
    assert "no guarantee 'G99'" in result.stderr.str()


def test_table_has_every_guarantee() -> None:
    rows = table([proof("G2", "test_a", "reclaim 1 s"), proof("G2", "test_a", server="Redis 7")]).splitlines()
    assert len(rows) == 2 + len(GUARANTEES)
    assert rows[3].endswith("| `test_a` | reclaim 1 s | Valkey 9, Redis 7 |")
    assert "no test" in rows[2]


def test_one_failure_shows() -> None:
    rows = table([proof("G1", "test_a", "lost 0"), proof("G1", "test_a", passed=False, server="Redis 7")])
    assert "| `test_a` | **failed** | Valkey 9, Redis 7 |" in rows


def test_rest_of_readme_stays(tmp_path: Path) -> None:
    text = f"# Bus\n\n{BEGIN}\nold\n{END}\n\nend\n"
    assert rewrite(text, "new") == f"# Bus\n\n{BEGIN}\nnew\n{END}\n\nend\n"
    with pytest.raises(ValueError, match="no lines"):
        rewrite("nothing", "new")
