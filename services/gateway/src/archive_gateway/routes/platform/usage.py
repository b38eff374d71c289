"""What was used, by day, key and model."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, Field
from starlette.types import ASGIApp

from archive_gateway.domain.errors import BadRequest
from archive_gateway.domain.usage import Account, Counts
from archive_gateway.routes.answers import Json
from archive_gateway.routes.desk import Desk
from archive_gateway.routes.visit import Visit

MOST_DAYS = 400


class UsageQuery(BaseModel):
    """Which days (UTC, both ends included; by default the last thirty), and of which key or model."""

    start: date | None = None
    end: date | None = None
    key: str = ""
    model: str = ""
    tenant: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9._-]{0,64}$", description="Another tenant than one's own; for operators.")
    ] = ""


class UsageRow(BaseModel):
    """What one key used of one model on one day.

    `cut` counts answers that broke off, `estimated` those whose tokens no engine counted: a token is then a piece of
    the answer, or four characters of the prompt.
    """

    day: str
    key: str
    model: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cut: int
    estimated: int


class UsageReport(BaseModel):
    """What was used. Keys that see only themselves see only their own rows."""

    tenant: str
    start: date
    end: date
    rows: list[UsageRow]
    requests: int
    total_tokens: int


async def get_usage(desk: Desk, visit: Visit) -> ASGIApp:
    """Say what was used, by day, key and model; without the scope operator, of one's own key."""
    wanted = visit.query(UsageQuery)
    caller = visit.ticket.caller
    operator = "operator" in caller.scopes
    if wanted.tenant and wanted.tenant != caller.tenant:
        caller.demand("operator")
    end = wanted.end or datetime.now(UTC).date()
    start = wanted.start or date.fromordinal(max(1, end.toordinal() - 29))
    days = (end - start).days + 1
    if not 0 < days <= MOST_DAYS:
        raise BadRequest(
            f"From {start} to {end} is no span of 1 to {MOST_DAYS} days.", param="start", code="invalid_value"
        )
    tenant = wanted.tenant or caller.tenant
    named = [(start + timedelta(days=number)).isoformat() for number in range(days)]
    found = await desk.usage.read(tenant, named)
    rows = [
        _row(account, counts)
        for account, counts in sorted(found.items())
        if (operator or account.key == caller.key)
        and wanted.key in {"", account.key}
        and wanted.model in {"", account.model}
    ]
    return Json(
        UsageReport(
            tenant=tenant,
            start=start,
            end=end,
            rows=rows,
            requests=sum(row.requests for row in rows),
            total_tokens=sum(row.total_tokens for row in rows),
        )
    )


def _row(account: Account, counts: Counts) -> UsageRow:
    return UsageRow(
        day=account.day,
        key=account.key,
        model=account.model,
        requests=counts.requests,
        prompt_tokens=counts.prompt_tokens,
        completion_tokens=counts.completion_tokens,
        total_tokens=counts.total_tokens,
        cut=counts.cut,
        estimated=counts.estimated,
    )
