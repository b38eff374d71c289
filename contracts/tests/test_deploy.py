"""What deployments take from the map is written, compared, and YAML that any reader understands."""

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from archive_contracts.deploy.__main__ import generated, main
from archive_contracts.deploy.yaml import document

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=12)
SCALARS = st.one_of(TEXT, st.integers(-1000, 1000), st.booleans())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(st.one_of(SCALARS, st.dictionaries(TEXT, inner, min_size=1, max_size=3)), min_size=1, max_size=3),
        st.dictionaries(TEXT, inner, min_size=1, max_size=3),
    ),
    max_leaves=8,
)


@given(st.dictionaries(TEXT, VALUES, min_size=1, max_size=4))
def test_yaml_reads_back(value: dict[str, Any]) -> None:
    assert yaml.safe_load(document(value)) == value


def test_list_of_words_reads_back() -> None:
    assert yaml.safe_load(document({"list": ["plain", "yes", 3]})) == {"list": ["plain", "yes", 3]}


def test_written_files_differ_no_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--check"]) == 1
    assert "differs" in capsys.readouterr().out
    assert main([str(tmp_path)]) == 0
    assert main([str(tmp_path), "--check"]) == 0
    assert all((tmp_path / name).read_text() == text for name, text in generated().items())


def test_module_ends_with_its_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["deploy", str(tmp_path), "--check"])
    monkeypatch.delitem(sys.modules, "archive_contracts.deploy.__main__")
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("archive_contracts.deploy", run_name="__main__")
    assert ended.value.code == 1
