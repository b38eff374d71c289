"""What the page offers by name is what the router understands."""

from archive_console.domain import engines
from archive_router.domain import profiles


def test_page_offers_every_profile() -> None:
    assert set(engines.PROFILES) == {profiles.SMART, *profiles.PROFILES}
