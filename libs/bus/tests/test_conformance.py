"""Every backend keeps what the bus promises."""

from archive_testkit.conformance import BusConformance


class TestConformance(BusConformance):
    """The suite of the testkit, on each backend of the conftest."""
