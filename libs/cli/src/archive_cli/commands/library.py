"""ingest, search, ask, documents, jobs: what people do with their documents."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from archive_cli.commands._options import Verbs, gateway, gateway_options, group, verb
from archive_cli.console import Console, size
from archive_cli.errors import CliError

Columns = Mapping[str, Callable[[Any], object]]
"""What a list shows: headings, and how each is told of an item."""


def add(verbs: Verbs) -> None:
    """Add these verbs."""
    options = [gateway_options()]
    ingest = verb(verbs, "ingest", run_ingest, about="Upload files and folders to be searched.", options=options)
    ingest.add_argument("paths", nargs="+", metavar="FILE-OR-FOLDER")
    ingest.add_argument("--only", default="*", metavar="PATTERN", help="which files of folders, such as '*.pdf'")
    ingest.add_argument("-j", "--jobs", type=int, default=4, help="files under way at once (default 4)")
    ingest.add_argument("--no-wait", action="store_true", help="return when uploaded, do not wait for the jobs")
    search = verb(verbs, "search", run_search, about="Show matching passages, without a model.", options=options)
    search.add_argument("query")
    search.add_argument("-k", "--top-k", type=int, default=5, help="how many (default 5)")
    search.add_argument("--full", action="store_true", help="whole passages, not only what is nearest in them")
    ask = verb(verbs, "ask", run_ask, about="Answer a question from the documents, with sources.", options=options)
    ask.add_argument("question")
    ask.add_argument("-k", "--top-k", type=int, default=5, help="passages to consult (default 5)")
    ask.add_argument("--no-library", action="store_true", help="do not consult documents")
    ask.add_argument("--no-memory", action="store_true", help="do not consult remembered conversations")
    _add_documents(verbs, options)
    _add_jobs(verbs, options)


def _add_documents(verbs: Verbs, options: list[argparse.ArgumentParser]) -> None:
    documents = group(verbs, "documents", about="List, show and delete documents.")
    listed = verb(documents, "list", run_documents, about="List documents, newest first.", options=options)
    listed.add_argument("--limit", type=int, default=100, help="how many (default 100)")
    listed.add_argument("--offset", type=int, default=0, help="how many to skip")
    for name, run, about in (
        ("show", run_document, "Show one document."),
        ("delete", run_delete, "Delete a document with its passages."),
    ):
        verb(documents, name, run, about=about, options=options).add_argument("id")


def _add_jobs(verbs: Verbs, options: list[argparse.ArgumentParser]) -> None:
    jobs = group(verbs, "jobs", about="List, show, cancel and follow jobs.")
    listed = verb(jobs, "list", run_jobs, about="List jobs, newest first.", options=options)
    listed.add_argument("--limit", type=int, default=50, help="how many (default 50)")
    listed.add_argument("--offset", type=int, default=0, help="how many to skip")
    for name, run, about in (
        ("show", run_job, "Show one job."),
        ("cancel", run_cancel, "Cancel a job."),
        ("follow", run_follow, "Follow a job until it ended."),
    ):
        verb(jobs, name, run, about=about, options=options).add_argument("id")


def run_ingest(args: argparse.Namespace, console: Console) -> int:
    """Upload and follow; exit 1 when any file failed."""
    from archive_cli.ingest import collect, ingest
    from archive_cli.progress import show_progress

    files = collect(args.paths, only=args.only)
    failed = 0
    with gateway(args) as door, show_progress(files, console) as shown:
        for outcome in ingest(door, files, jobs=args.jobs, wait=not args.no_wait, progress=shown.moved):
            shown.ended(outcome)
            failed += not outcome.ok
    if len(files) > 1:
        console.text(f"{len(files) - failed} of {len(files)} files {'uploaded' if args.no_wait else 'ingested'}.")
    return 1 if failed else 0


def run_search(args: argparse.Namespace, console: Console) -> int:
    """Show the passages nearest to a query."""
    from archive_cli.answers import chunk_lines

    with gateway(args) as door:
        found = door.post("/library/search", {"query": args.query, "top_k": args.top_k})
    console.json(found)
    chunks: list[Any] = list(found.get("chunks", []))
    for number, chunk in enumerate(chunks, start=1):
        for line in chunk_lines(number, chunk, query="" if args.full else args.query, width=console.width):
            console.text(line)
    if not chunks:
        console.text("Nothing was found. `archive documents list` shows what there is to search.")
    return 0


def run_ask(args: argparse.Namespace, console: Console) -> int:
    """Stream an answer, then list the sources; exit 1 when the run failed."""
    from archive_cli.answers import sources_told
    from archive_cli.gateway import problem_of

    body = {
        "question": args.question,
        "use_library": not args.no_library,
        "use_memory": not args.no_memory,
        "top_k": args.top_k,
        "stream": True,
    }
    result: dict[str, Any] | None = None
    written = False
    with gateway(args) as door, door.events("POST", "/research", body=body) as events:
        for event in events:
            told: dict[str, Any] = json.loads(event.data) if event.name in {"delta", "done", "error"} else {}
            if event.name == "delta":
                console.text(told["text"], end="")
                written = True
            elif event.name == "error":
                raise problem_of(told)
            elif event.name == "done":
                result = told
    if result is None:
        raise CliError("The answer broke off.", code="stream_cut", next_step="ask again")
    console.json(result)
    if written or result.get("answer"):
        console.text("" if written else result["answer"])
    if not result.get("success", True):
        problem = problem_of({"error": result.get("error") or "The question could not be answered."})
        # Why there is no answer comes before what was found for it.
        console.problem(problem)
        for line in sources_told(result):
            console.text(line)
        return problem.exit_code
    for line in sources_told(result):
        console.text(line)
    return 0


def run_documents(args: argparse.Namespace, console: Console) -> int:
    """List documents."""
    columns: Columns = {
        "id": lambda item: item.get("id"),
        "file": lambda item: item.get("filename"),
        "status": lambda item: item.get("status"),
        "pages": lambda item: item.get("pages", "-"),
        "chunks": lambda item: item.get("chunks", "-"),
        "size": lambda item: size(item.get("size") or 0),
    }
    return _list(args, console, "documents", columns, empty="There are no documents. `archive ingest FILE` adds one.")


def run_document(args: argparse.Namespace, console: Console) -> int:
    """Show one document."""
    with gateway(args) as door:
        return _show(dict(door.get(f"/v1/documents/{args.id}")), console)


def run_delete(args: argparse.Namespace, console: Console) -> int:
    """Delete a document."""
    with gateway(args) as door:
        told = door.delete(f"/v1/documents/{args.id}")
    console.json(told or {"id": args.id, "status": "deleted"})
    console.text(f"Deleted {args.id}.")
    return 0


def run_jobs(args: argparse.Namespace, console: Console) -> int:
    """List jobs."""
    columns: Columns = {
        "id": lambda item: item.get("id"),
        "kind": lambda item: item.get("kind"),
        "file": lambda item: item.get("filename") or "-",
        "status": lambda item: item.get("status"),
        "phase": lambda item: item.get("phase"),
        "progress": lambda item: f"{float(item.get('progress') or 0):.0%}",
    }
    return _list(args, console, "jobs", columns, empty="There are no jobs. `archive ingest FILE` starts one.")


def _list(args: argparse.Namespace, console: Console, what: str, columns: Columns, *, empty: str) -> int:
    """Show a page of what the gateway lists under a name, and whether there is more."""
    with gateway(args) as door:
        found = door.get(f"/v1/{what}", limit=args.limit, offset=args.offset)
    console.json(found)
    listed: list[Any] = list(found.get(what, []))
    if not listed:
        console.text(empty)
        return 0
    console.table(tuple(columns), (tuple(show(item) for show in columns.values()) for item in listed))
    if len(listed) < int(found.get("total") or 0):
        console.text(f"{len(listed)} of {found['total']}; --limit and --offset show others.")
    return 0


def run_job(args: argparse.Namespace, console: Console) -> int:
    """Show one job."""
    with gateway(args) as door:
        return _show(dict(door.get(f"/v1/jobs/{args.id}")), console)


def run_cancel(args: argparse.Namespace, console: Console) -> int:
    """Cancel a job."""
    with gateway(args) as door:
        told = door.delete(f"/v1/jobs/{args.id}")
    console.json(told or {"id": args.id, "status": "cancelled"})
    console.text(f"Job {args.id} is {told.get('status', 'cancelled')}.")
    return 0


def run_follow(args: argparse.Namespace, console: Console) -> int:
    """Follow a job; exit 1 when it failed or was cancelled."""
    from archive_cli.answers import counts
    from archive_cli.gateway import Json
    from archive_cli.ingest import follow

    def seen(job: Json) -> None:
        console.json(job)
        console.text(f"{job.get('status')}: {job.get('phase')} {float(job.get('progress') or 0):4.0%} {counts(job)}")

    with gateway(args) as door:
        job = follow(door, args.id, seen=seen)
    if job.get("error"):
        sys.stderr.write(f"archive: {job['error'].get('message')}\n")
    return 1 if job.get("status") in {"failed", "cancelled"} else 0


def _show(value: dict[str, Any], console: Console) -> int:
    console.json(value)
    for name, field in value.items():
        if field not in (None, "", [], {}):
            shown = json.dumps(field, ensure_ascii=False) if isinstance(field, dict | list) else field
            console.text(f"{name:<14} {shown}")
    return 0
