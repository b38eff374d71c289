"""Verbs that prepare servers of a cluster: users and their rights, streams and their groups."""

import argparse
import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from archive_cli.commands._options import Verbs, verb
from archive_cli.console import Console
from archive_cli.errors import CliError, UsageError

POOLS = "embed small"
API_KEY = "gateway-api-key"
_ROLES = {"bus": ("bus",), "state": ("state",), "both": ("bus", "state")}


def add(verbs: Verbs) -> None:
    """Add the verbs."""
    acl = verb(verbs, "acl", run_acl, about="Write the users of a server and their rights, from the map of streams.")
    acl.add_argument("--server", choices=sorted(_ROLES), default="both", help="the role it serves (default both)")
    acl.add_argument("--flavour", choices=["valkey-9", "redis-7.0"], default="valkey-9", help="which rules it knows")
    acl.add_argument("--passwords", metavar="DIR", help="a file for each user, a password a line; without: users off")
    acl.add_argument("--env", action="store_true", help="take passwords from variables, such as ROUTER_PASSWORD")
    acl.add_argument("--out", metavar="FILE", help="where to write it, for its owner only (default: print)")
    setup = verb(
        verbs,
        "bootstrap",
        run_bootstrap,
        about="Create streams and groups on the server of ARCHIVE_BUS_URL, and users where passwords are given.",
    )
    setup.add_argument("--pools", default=POOLS, help=f"pools of engines that have a lane (default {POOLS!r})")
    setup.add_argument("--passwords", metavar="DIR", help="as for `acl`; needs an administrator's credential")
    setup.add_argument("--server", choices=sorted(_ROLES), default="both", help="the role it serves (default both)")
    secret = verb(verbs, "secrets", run_secrets, about="Make up a password for every user, and a key for the gateway.")
    secret.add_argument("--out", metavar="DIR", required=True, help="folder; what is in it stays as it is")
    secret.add_argument("--kubernetes", action="store_true", help="also write kubernetes.yaml: every Secret of k8s/")
    for role in ("bus", "state"):
        url = f"redis://USER:PASSWORD@redis-{role}:6379/0"
        secret.add_argument(f"--{role}-url", default=url, help=f"address in those Secrets (default {url})")


def run_secrets(args: argparse.Namespace, console: Console) -> int:
    """Write `passwords/<user>` for the servers and `env` for compose; a second run keeps what is there.

    Of several passwords in a file the last one is given to clients: a new one is a new line.
    """
    import secrets

    from archive_cli.home import write_private
    from archive_contracts import access

    folder = Path(args.out)
    (folder / "passwords").mkdir(parents=True, exist_ok=True)
    newest: dict[str, str] = {}
    users = (*access.USERS, access.ADMINISTRATOR)
    for user in (*users, API_KEY):
        path = folder / "passwords" / user if user in users else folder / user
        if not path.exists():
            write_private(path, secrets.token_urlsafe(24) + "\n")
        newest[user] = path.read_text(encoding="utf-8").split()[-1]
    lines = [f"{variable_of(user) if user in users else 'GATEWAY_API_KEY'}={newest[user]}" for user in newest]
    doors = read_publishers(str(folder / "passwords"))
    lines += [f"{variable_of(user)}={found[-1]}" for user, found in doors.items()]
    write_private(folder / "env", "\n".join(lines) + "\n")
    if args.kubernetes:
        write_private(folder / "kubernetes.yaml", _cluster_secrets(folder, newest, args.bus_url, args.state_url))
    console.json({"written": str(folder), "users": list(users)})
    also = f", and {folder}/kubernetes.yaml" if args.kubernetes else ""
    console.text(f"Wrote {folder}/env and {folder}/passwords for {len(users)} users{also}.")
    return 0


def _cluster_secrets(folder: Path, newest: Mapping[str, str], bus_url: str, state_url: str) -> str:
    """Return every Secret that the manifests name, as YAML."""
    from archive_contracts import access
    from archive_contracts.deploy.yaml import values
    from archive_contracts.streams import SERVICES

    def url(form: str, user: str) -> str:
        return form.replace("USER", user).replace("PASSWORD", newest[user])

    kept = sorted(path for path in (folder / "passwords").iterdir() if path.is_file())
    secrets = {"archive-passwords": {path.name: path.read_text(encoding="utf-8") for path in kept}}
    # Servers compare digests, and nothing in the cluster logs in as the administrator.
    own = secrets["archive-passwords"].pop(access.ADMINISTRATOR).split()
    secrets["archive-passwords"][access.ADMINISTRATOR] = "\n".join(map(access.digest, own)) + "\n"
    for user in (*SERVICES, access.OPERATOR):
        secrets[f"archive-{user}"] = {"bus-url": url(bus_url, user), "state-url": url(state_url, user)}
    secrets["archive-keda"] = {"username": access.KEDA, "password": newest[access.KEDA]}
    secrets["archive-exporter"] = {"password": newest[access.EXPORTER]}
    secrets["archive-api-key"] = {"key": newest[API_KEY]}
    return values(
        *(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}
            for name, data in secrets.items()
        )
    )


def run_acl(args: argparse.Namespace, console: Console) -> int:
    """Write an ACL file."""
    from archive_cli.home import write_private
    from archive_contracts import access
    from archive_contracts.streams import Server

    flavour, roles = access.Flavour(args.flavour), {Server(role) for role in _ROLES[args.server]}
    all_users = (*access.USERS, access.ADMINISTRATOR)
    known = dict(read_passwords(args.passwords, users=all_users))
    if args.env:
        known |= {user: found.split() for user in all_users if (found := os.environ.get(variable_of(user)))}
    publishers = dict[str, Sequence[str]]()
    if Server.BUS in roles:
        publishers = {**(_publishers_of(os.environ) if args.env else {}), **read_publishers(args.passwords)}
    known |= publishers
    lines = [
        access.line(user, access.selectors(user, roles), flavour, passwords=known.get(user, ()))
        for user in (*access.USERS, *({access.ADMINISTRATOR} & known.keys()), *publishers)
    ]
    text = "\n".join(["user default off", *lines]) + "\n"
    if args.out:
        write_private(Path(args.out), text)
        console.json({"written": args.out, "users": sorted(known)})
        console.text(f"Wrote {args.out}: {len(known)} of {len(lines)} users have a password.")
    else:
        console.json({"acl": text})
        console.text(text.rstrip())
    return 0


def run_bootstrap(args: argparse.Namespace, console: Console) -> int:
    """Create streams, groups, and users."""
    from archive_bus import BusError, create_streams, create_users
    from archive_contracts import access
    from archive_contracts.streams import Server

    if not (url := os.environ.get("ARCHIVE_BUS_URL", "")):
        raise UsageError("There is no server.", code="no_server", next_step="set ARCHIVE_BUS_URL to its address")
    passwords = dict(read_passwords(args.passwords, users=(*access.USERS, access.ADMINISTRATOR)))
    if Server.BUS in {Server(role) for role in _ROLES[args.server]}:
        passwords |= read_publishers(args.passwords)

    async def prepare() -> tuple[list[str], list[str]]:
        roles = {Server(role) for role in _ROLES[args.server]}
        users = await create_users(url, passwords, servers=roles) if passwords else []
        streams = await create_streams(url, pools=args.pools.split()) if Server.BUS in roles else []
        return users, streams

    try:
        users, streams = asyncio.run(prepare())
    except BusError as error:
        problem = error.problem()
        raise CliError(problem.message, code=problem.code, next_step=problem.next_step) from error
    console.json({"users": users, "created": streams})
    console.text(f"Created {len(streams)} groups; set {len(users)} users.")
    return 0


def variable_of(user: str) -> str:
    """Return the name of the variable that holds a user's password."""
    return f"{user.upper().replace('-', '_')}_PASSWORD"


def _publishers_of(env: Mapping[str, str]) -> Mapping[str, Sequence[str]]:
    """Return the foreign publishers whose passwords are variables, such as INGRESS_ACME_PASSWORD."""
    ends = ("INGRESS_", "_PASSWORD")
    named = {name.removesuffix(ends[1]): value for name, value in env.items() if name.startswith(ends[0])}
    return {name.lower().replace("_", "-"): value.split() for name, value in named.items() if variable_of(name) in env}


def read_passwords(folder: str | None, *, users: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Return the passwords of a folder: a file for each user, all of its lines accepted.

    Raises:
        UsageError: there is no such folder.
    """
    if not folder:
        return {}
    if not Path(folder).is_dir():
        raise UsageError(f"There is no folder {folder}.", code="no_passwords", next_step="name a folder of files")
    files = {user: Path(folder) / user for user in users}
    found = {user: path.read_text(encoding="utf-8").split() for user, path in files.items() if path.is_file()}
    return {user: passwords for user, passwords in found.items() if passwords}


def read_publishers(folder: str | None) -> Mapping[str, Sequence[str]]:
    """Return the passwords of foreign publishers in a folder: the files whose names begin with `ingress-`."""
    names = sorted(path.name for path in Path(folder).glob("ingress-*")) if folder else []
    return read_passwords(folder, users=names)
