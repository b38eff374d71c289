"""engines list|use|add|remove|find: which model servers answer."""

import argparse
import asyncio
import os
from typing import TYPE_CHECKING, Any

from archive_cli.answers import model_ids
from archive_cli.commands._options import Verbs, api_key, gateway, gateway_options, group, home_of, home_option, verb
from archive_cli.console import Console
from archive_cli.engine_list import BUNDLED, BUNDLED_POOL, EngineEntry, bad_url, is_address, make_entry
from archive_cli.errors import UsageError

if TYPE_CHECKING:
    from archive_cli.gateway import Gateway


def add(verbs: Verbs) -> None:
    """Add these verbs."""
    engines = group(verbs, "engines", about="List, add, choose and find model servers.")
    places = [home_option(), _gateway_option()]
    verb(engines, "list", run_list, about="List the engines that answer now.", options=[gateway_options()])
    for name, run, options, about in (
        ("add", run_add, places, "Add an OpenAI-compatible server; a running system takes it up at once."),
        (
            "use",
            run_use,
            places[:1],
            "Answer with this server, which is added when it was not, unless a request names another.",
        ),
    ):
        parser = verb(engines, name, run, about=about, options=options)
        parser.add_argument("url", metavar="URL" if name == "add" else "URL-OR-NAME")
        parser.add_argument("--name", default="", help="what to call it (from the address when left out)")
        parser.add_argument("--pool", default="", help="lane it serves (its name when left out)")
        parser.add_argument("--model", default="", help="model to ask for (all it lists when left out)")
        parser.add_argument("--slots", type=int, default=4, help="requests it serves at once (default 4)")
        parser.add_argument(
            "--api-key-env", default="", metavar="NAME", help="variable that holds its key; kept in the data folder"
        )
    remove = verb(engines, "remove", run_remove, about="Forget an added server.", options=places)
    remove.add_argument("url", metavar="URL-OR-NAME")
    verb(
        engines,
        "find",
        run_find,
        about="Look for Ollama, LM Studio, llama.cpp and vLLM on this machine.",
        options=[home_option()],
    )


def run_list(args: argparse.Namespace, console: Console) -> int:
    """List engines as the gateway knows them."""
    with gateway(args) as door:
        found = door.get("/v1/engines")
    console.json(found)
    listed: list[Any] = list(found.get("engines", []))
    if not listed:
        console.text("No engine answers. `archive engines find` looks for some on this machine.")
        return 0
    engine_table(listed, console)
    return 0


def run_add(args: argparse.Namespace, console: Console) -> int:
    """Add an engine."""
    if not is_address(args.url):
        # A mistyped word would otherwise become the name of a machine, and an engine that never answers.
        raise bad_url(args.url)
    entry = _entry(args)
    if args.gateway:
        return _add_there(args, entry, console)
    _keep(args, entry, make_default=False)
    answers = _answers(entry)
    console.json({"added": entry.to_json(), "answers": answers})
    console.text(f"Added {entry.name} ({entry.base_url}) to the lane {entry.pool}. A running system takes it up now.")
    _tell_silence(entry, answers, console)
    return 0


def run_use(args: argparse.Namespace, console: Console) -> int:
    """Add an engine when it is new, and make its lane the default."""
    from archive_cli.engine_store import load, save

    home = home_of(args)
    engines = load(home)
    if args.url in BUNDLED:
        save(home, engines.preferring(BUNDLED_POOL))
        console.json({"used": {"name": "bundled", "pool": BUNDLED_POOL}})
        console.text("Requests that name no model now go to the bundled model.")
        return 0
    # A name that nobody knows would otherwise become the address of a server, and get every request.
    entry = _entry(args) if is_address(args.url) else engines.find(args.url)
    entry = next((known for known in engines.engines if known.base_url == entry.base_url), entry)
    _keep(args, entry, make_default=True)
    answers = _answers(entry)
    console.json({"used": entry.to_json(), "answers": answers})
    console.text(f"Requests that name no model now go to {entry.name} ({entry.base_url}).")
    _tell_silence(entry, answers, console)
    return 0


def run_remove(args: argparse.Namespace, console: Console) -> int:
    """Forget an engine and its key."""
    if args.gateway:
        with _door(args) as door:
            found = door.delete(f"/v1/engines/added/{args.url}")
        console.json(found)
        console.text(f"Removed {args.url} at {args.gateway}.")
        return 0
    from archive_cli.engine_store import forget_key, load, save

    home = home_of(args)
    engines = load(home)
    entry = engines.find(args.url)
    save(home, engines.without(entry.name))
    forget_key(home, entry)
    console.json({"removed": entry.to_json()})
    console.text(f"Removed {entry.name}.")
    return 0


def run_find(args: argparse.Namespace, console: Console) -> int:
    """Look for model servers of other programs; exit 1 when there is none."""
    from archive_cli.find import hint
    from archive_cli.system import command_name
    from archive_finding import find_engines

    info = home_of(args).read_run()
    own = {process.port for process in info.processes} if info else set[int]()
    found = asyncio.run(find_engines(own_ports=own))
    listed = [{"kind": engine.kind, "url": engine.url, "models": list(engine.models)} for engine in found]
    console.json({"found": listed})
    for engine in found:
        console.text(hint(engine, command_name()))
    if not found:
        console.text("Found none of Ollama, LM Studio, llama.cpp and vLLM on their usual ports.")
    return 0 if found else 1


def engine_table(engines: list[Any], console: Console) -> None:
    """Write engines as a table."""
    console.table(
        ("engine", "pool", "models", "busy", "address", "state"),
        (
            (
                engine.get("engine"),
                engine.get("pool"),
                ", ".join(model_ids(engine)),
                f"{engine.get('busy', 0)}/{engine.get('slots', '?')}",
                engine.get("base_url") or "built in",
                "healthy" if engine.get("healthy") else engine.get("problem") or "not healthy",
            )
            for engine in engines
        ),
    )


def _gateway_option() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--gateway",
        default="",
        metavar="ADDRESS",
        help="do it at this gateway, on whichever machine, and not in the data folder (ARCHIVE_API_KEY: an operator's)",
    )
    return parser


def _door(args: argparse.Namespace) -> "Gateway":
    from archive_cli.gateway import Gateway

    return Gateway(args.gateway, key=api_key(), timeout_s=30.0)


def _add_there(args: argparse.Namespace, entry: EngineEntry, console: Console) -> int:
    with _door(args) as door:
        found = door.post("/v1/engines", entry.to_json())
    console.json({"added": found})
    console.text(f"Added {entry.name} ({entry.base_url}) to the lane {entry.pool} at {args.gateway}.")
    if found.get("hosted") is False and not console.as_json:
        console.note(
            "Nobody asks it: no living engine worker there runs engines that are added. Start one with "
            "ENGINE_HOST=true, or give this server a worker of its own."
        )
    return 0


def _entry(args: argparse.Namespace) -> EngineEntry:
    return make_entry(
        args.url, name=args.name, pool=args.pool, model=args.model, api_key_env=args.api_key_env, slots=args.slots
    )


def _keep(args: argparse.Namespace, entry: EngineEntry, *, make_default: bool) -> None:
    from archive_cli.engine_store import keep_key, load, save

    home = home_of(args)
    engines = load(home).with_entry(entry)
    home.prepare()
    if entry.api_key_env and not keep_key(home, entry, os.environ):
        raise UsageError(
            f"The variable {entry.api_key_env} is empty.",
            code="no_key",
            next_step=f"set {entry.api_key_env} to the engine's key for this one call; it is kept in the data folder",
        )
    pool = entry.pool if make_default else engines.default_pool
    save(home, engines.preferring(pool))


def _answers(entry: EngineEntry) -> bool:
    """Tell whether anything answers at the engine's address, be it with a refusal."""
    import httpx

    try:
        httpx.get(f"{entry.base_url}/models", timeout=2.0, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
    return True


def _tell_silence(entry: EngineEntry, answers: bool, console: Console) -> None:
    if not answers and not console.as_json:
        console.note(f"Nothing answers at {entry.base_url} yet; check the address, or start the server.")
