"""What operators change by hand: never without a reason, and everybody is told."""

import time
from collections.abc import Sequence

from starlette.datastructures import FormData

from archive_console.domain.errors import BadForm
from archive_console.routes.visit import Visit, text
from archive_contracts.actions import ActionTaken
from archive_contracts.streams import OPERATOR_ACTIONS
from archive_telemetry import get_logger

log = get_logger(__name__)


def reason_of(form: FormData) -> str:
    """Return why something is changed. Raises BadForm when nobody says."""
    reason = text(form, "reason", most=500)
    if not reason:
        raise BadForm("Nothing is changed by hand without a reason.", next_step="Say why in a few words.")
    return reason


async def note(visit: Visit, what: str, subjects: Sequence[str], *, reason: str) -> None:
    """Tell everybody what an operator did. Raises BusError."""
    taken = ActionTaken(
        actor=visit.session.actor, what=what, subjects=tuple(subjects), reason=reason, taken_at=time.time()
    )
    log.info(what, actor=taken.actor, reason=reason, ids=taken.subjects)
    await visit.desk.bus.publish(taken, to=OPERATOR_ACTIONS, origin=visit.origin)
