"""All tools of this runner."""

from archive_tool_runner.domain.calculator import CALCULATOR
from archive_tool_runner.domain.date_time import Clock, date_time_tools
from archive_tool_runner.domain.json_tool import JSON
from archive_tool_runner.domain.searches import LIBRARY_SEARCH, MEMORY_SEARCH
from archive_tool_runner.domain.text_tools import COUNT_IN_TEXT, TEXT
from archive_tool_runner.domain.tool import Registry
from archive_tool_runner.domain.units import CONVERT_UNITS


def build_registry(clock: Clock) -> Registry:
    """The native tools, reading this clock, and the two searches, which the handlers perform."""
    return Registry(
        (
            CALCULATOR,
            *date_time_tools(clock),
            TEXT,
            COUNT_IN_TEXT,
            JSON,
            CONVERT_UNITS,
            LIBRARY_SEARCH,
            MEMORY_SEARCH,
        )
    )
