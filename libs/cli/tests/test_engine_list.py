import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_cli.engine_list import RESERVED, EngineEntry, EngineList, difference, make_entry, read_list
from archive_cli.engine_store import forget_key, keep_key, key_of, load, save
from archive_cli.errors import UsageError
from archive_cli.home import Home

names = st.text(alphabet=string.ascii_lowercase + string.digits, min_size=6, max_size=20).filter(
    lambda name: name not in RESERVED
)
entries = st.builds(
    EngineEntry,
    name=names,
    base_url=names.map(lambda name: f"http://{name}.example/v1"),
    pool=names,
    model=st.text(alphabet=string.ascii_letters + ":/.-", max_size=20),
    slots=st.integers(min_value=1, max_value=64),
)
lists = st.lists(entries, max_size=5, unique_by=lambda entry: entry.name).map(
    lambda found: EngineList(engines=tuple(found), default_pool=found[0].pool if found else "")
)


@given(engines=lists)
def test_list_survives_writing(engines: EngineList) -> None:
    assert read_list(engines.to_json()) == engines


@given(before=lists, after=lists)
def test_difference_leads_to_the_wanted(before: EngineList, after: EngineList) -> None:
    change = difference(before.engines, after.engines)
    assert (set(before.engines) - set(change.stop)) | set(change.start) == set(after.engines)


@pytest.mark.parametrize(
    ("url", "name", "base_url"),
    [
        ("http://127.0.0.1:11434", "ollama", "http://127.0.0.1:11434/v1"),
        ("localhost:1234/v1/", "lm-studio", "http://localhost:1234/v1"),
        ("https://api.example.com/v1", "api-example-com", "https://api.example.com/v1"),
    ],
)
def test_address_gives_name_and_base(url: str, name: str, base_url: str) -> None:
    entry = make_entry(url)
    assert (entry.name, entry.pool, entry.base_url) == (name, name, base_url)


@pytest.mark.parametrize("url", ["ftp://x", "http://", ""])
def test_bad_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        make_entry(url)


@pytest.mark.parametrize("name", ["small", "Has Blank", "-x"])
def test_bad_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        make_entry("http://127.0.0.1:1", name=name)


@pytest.mark.parametrize("found", [[], "text", {"engines": 3}, {"engines": ["x"]}, {"engines": [{"name": "a"}]}])
def test_broken_file_says_what_to_do(found: object) -> None:
    with pytest.raises(UsageError) as caught:
        read_list(found)
    assert caught.value.next_step


def test_same_name_replaces_the_entry() -> None:
    first, second = make_entry("http://h:1", name="one"), make_entry("http://h:2", name="one")
    assert EngineList().with_entry(first).with_entry(second).engines == (second,)


def test_removing_the_default_clears_it() -> None:
    entry = make_entry("http://h:1", name="one")
    assert EngineList(engines=(entry,), default_pool="one").without("one") == EngineList()


def test_file_keeps_the_list(home: Home) -> None:
    engines = EngineList(engines=(make_entry("http://h:1", name="one"),), default_pool="one")
    save(home, engines)
    assert load(home) == engines
    assert home.engines_file.stat().st_mode & 0o777 == 0o600


def test_no_yaml_is_told(home: Home) -> None:
    home.engines_file.write_text("engines: [")
    with pytest.raises(UsageError, match="no YAML"):
        load(home)


def test_key_outlives_its_variable(home: Home) -> None:
    entry = make_entry("http://h:1", name="one", api_key_env="THE_KEY")
    assert keep_key(home, entry, {"THE_KEY": "secret"})
    assert key_of(home, entry, {}) == "secret"
    assert key_of(home, entry, {"THE_KEY": "newer"}) == "newer"
    forget_key(home, entry)
    assert key_of(home, entry, {}) == ""
