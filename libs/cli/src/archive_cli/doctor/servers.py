"""Judges the two Redis roles: versions, settings, memory, clock, access rules."""

from collections.abc import Iterator

from archive_bus import AccessSurvey, BusError, ServerSurvey, UserSurvey
from archive_cli.doctor.finding import Finding, failure, ok, skipped, warning
from archive_contracts.access import WATCHERS

FULL, NEARLY_FULL = 0.85, 0.7
SKEW_S, MUCH_SKEW_S = 0.5, 5.0
_SHOWN = 3


def away(role: str, error: BusError) -> Finding:
    """Return that a server could not be asked."""
    problem = error.problem()
    return failure(f"{role} server", problem.message, problem.next_step)


def judge_server(role: str, found: ServerSurvey) -> Iterator[Finding]:
    """Judge one server by its role, `bus` or `state`."""
    check = f"{role} server"
    yield (
        failure(check, f"version {found.version} lacks what the bus needs", "run Valkey 7.2 or Redis 7.0, or newer")
        if found.too_old
        else ok(check, f"version {found.version} answers")
    )
    if not found.master:
        yield failure(
            check, "it is a replica: writes are refused", "name the master, or the sentinels by sentinel://HOST/MASTER"
        )
    if role == "bus":
        yield from _keeping(found)
    yield _memory(role, found)
    yield _clock(role, found)
    if found.refused:
        yield warning(
            f"{role} access",
            f"refused within the last hour: {'; '.join(found.refused[:_SHOWN])}",
            "if the services were updated, the users have old rules: `archive bootstrap --passwords DIR`",
        )


def _keeping(found: ServerSurvey) -> Iterator[Finding]:
    check = "bus settings"
    if found.policy != "noeviction":
        yield failure(
            check,
            f"maxmemory-policy is {found.policy}: a full server drops messages",
            "set maxmemory-policy noeviction on the bus server",
        )
    if not found.aof:
        yield failure(check, "appendonly is off: a restart loses all messages", "set appendonly yes")
    elif found.fsync not in {"always", "unknown"}:
        yield warning(
            check,
            f"appendfsync is {found.fsync}: a crash loses the newest accepted messages",
            "set appendfsync always, or accept it by ?durability=memory in ARCHIVE_BUS_URL",
        )
    if not found.disk_fine:
        yield failure(check, "the server cannot write its append-only file", "free space on its volume")
    if found.policy == "noeviction" and found.aof and found.disk_fine:
        yield ok(check, f"nothing is evicted; appendfsync {found.fsync}; {found.replicas} replicas")


def _memory(role: str, found: ServerSurvey) -> Finding:
    check, used = f"{role} memory", f"{found.used / 1e6:.0f} MB"
    if not found.room:
        return ok(check, f"{used} used, without a limit")
    share, told = found.used / found.room, f"{used} of {found.room / 1e6:.0f} MB used"
    if role == "state" and found.policy != "noeviction":
        # It evicts at will, and is expected to be full.
        return ok(check, told)
    if role == "state" and share > FULL:
        return failure(
            check, f"{told}, and nothing is evicted: answers are refused", "set maxmemory-policy volatile-lru on it"
        )
    if share > FULL:
        return failure(
            check, told, "find the stream that grows with `archive streams`; then more workers, or more maxmemory"
        )
    if share > NEARLY_FULL:
        return warning(check, told, "`archive streams` shows which group is behind")
    return ok(check, told)


def _clock(role: str, found: ServerSurvey) -> Finding:
    check, skew = "clock", abs(found.skew_s)
    told = f"the {role} server's clock and this machine's differ by {skew:.1f} s"
    if skew > MUCH_SKEW_S:
        return failure(check, told, "run a time service (chrony, systemd-timesyncd): deadlines pass too early or late")
    if skew > SKEW_S:
        return warning(check, told, "run a time service (chrony, systemd-timesyncd)")
    return ok(check, told)


def judge_access(role: str, found: AccessSurvey) -> Iterator[Finding]:
    """Judge what the access rules of a server give to the services, and to those without a name."""
    check = f"{role} access"
    if not found.told:
        yield skipped(
            check,
            "the server does not say who may do what",
            "use the operator's credential; where a provider bars ACL commands, compare its users with `archive acl`",
        )
    elif not found.users:
        yield warning(
            check,
            "the server has no users of the map: every service may do everything",
            "`archive secrets`, then `archive acl` for its ACL file or `archive bootstrap --passwords DIR`",
        )
    elif found.without_name:
        yield failure(
            check,
            "whoever reaches the port needs no password: the user default is on and may "
            f"{'; '.join(found.without_name[:_SHOWN])}, whatever the other users may",
            "`ACL SETUSER default off` on the server, and in its ACL file `user default off`",
        )
    yield from _judge_users(check, found.users)


def _judge_users(check: str, users: tuple[UserSurvey, ...]) -> Iterator[Finding]:
    renew = "write the rules anew: `archive acl` or `archive bootstrap --passwords DIR`"
    for user in users:
        # The system works without those who only watch.
        absent = warning if user.user in WATCHERS else failure
        if not user.known:
            yield absent(check, f"there is no user {user.user}", renew)
        elif not user.enabled:
            yield absent(check, f"the user {user.user} is off: it has no password", renew)
        elif user.missing:
            yield failure(check, f"{user.user} may not: {'; '.join(user.missing[:_SHOWN])}", renew)
        elif user.beyond:
            yield warning(check, f"{user.user} may more than the map gives: {'; '.join(user.beyond[:_SHOWN])}", renew)
    if users and all(user.enabled and not user.missing and not user.beyond for user in users):
        yield ok(check, f"{len(users)} users have the rights of the map")
