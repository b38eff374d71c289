"""Access rules as the map gives them; that servers keep them is proved in tests/contract."""

import pytest

from archive_contracts.access import USERS, Flavour, acl_file, line, publisher, publisher_selectors, selectors
from archive_contracts.streams import SERVICES, Server


def lines(server: Server) -> dict[str, str]:
    return {text.split()[1]: text for text in acl_file({server}, Flavour.VALKEY_9).splitlines()}


@pytest.mark.parametrize("server", Server)
def test_every_user_has_a_line_and_none_may_log_in(server: Server) -> None:
    found = lines(server)
    assert set(found) == {"default", *USERS}
    assert {text.split()[3] for user, text in found.items() if user in SERVICES} == {"off"}


def test_each_server_names_only_its_own_streams() -> None:
    bus, state = lines(Server.BUS)["router"], lines(Server.STATE)["router"]
    assert "{chat.requests:" in bus
    assert "{replies:" not in bus
    assert "{chat.requests:" not in state
    assert "{replies:" in state


def test_consumer_may_not_add_to_what_it_reads() -> None:
    adding = [one for one in selectors("router") if "xadd" in one.commands]
    assert not any(key.endswith("{chat.requests:0}") for one in adding for key in one.keys)


def test_passwords_are_written_as_digests() -> None:
    text = line("router", selectors("router"), Flavour.VALKEY_9, passwords=["one", "two"])
    assert text.startswith("user router reset on #")
    assert text.count(" #") == 2
    assert "one" not in text.split()


def test_older_servers_are_spared_newer_commands() -> None:
    newer, older = (acl_file({Server.BUS}, flavour) for flavour in (Flavour.VALKEY_9, Flavour.REDIS_7_0))
    assert "waitaof" in newer
    assert "waitaof" not in older


def test_unknown_user_is_refused() -> None:
    with pytest.raises(KeyError, match="nobody"):
        selectors("nobody")


def test_publisher_adds_to_its_own_ingress_only() -> None:
    text = line(publisher("scans"), publisher_selectors("scans"), Flavour.VALKEY_9, passwords=["p"])
    assert text.startswith("user ingress-scans reset on #")
    assert text.endswith("(%W~{ingress.scans:0} +xadd)")


def test_publisher_has_rights_on_the_bus_alone() -> None:
    assert selectors("ingress-acme", {Server.BUS}) == publisher_selectors("acme")
    with pytest.raises(KeyError):
        selectors("ingress-acme", {Server.STATE})
