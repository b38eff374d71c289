"""Everything that is written from the map: JSON Schemas, the AsyncAPI document, the pictures and tables of the READMEs.

``python -m archive_contracts.schemas ROOT`` writes them below the repository's root; with ``--check`` it only says what
differs. ``--compat`` says what in the messages breaks with the committed schemas of before, ``--compat=REVISION`` with
those of one revision. Below version 1 of this package, messages may also become wider than old readers take; that is
said, but does not fail.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from archive_contracts import committed
from archive_contracts.base import Message
from archive_contracts.committed import HistoryUnavailable
from archive_contracts.compat import Break, Reader, compare_all
from archive_contracts.streams import SERVICES, STREAMS, TYPES, Kind, Stream

Json = dict[str, Any]
SCHEMAS = "contracts/schemas"
README = "README.md"

ENVELOPE: Json = {
    "type": "object",
    "description": "Fields of a stream entry, by CloudEvents' names where it has one.",
    "required": ["type", "data"],
    "properties": {
        "id": {"type": "string", "description": "Unique; a second publish with the same id adds nothing."},
        "source": {"type": "string", "description": "The publishing service."},
        "type": {"type": "string", "description": "Message type with its major version."},
        "time": {"type": "string", "format": "date-time"},
        "subject": {"type": "string"},
        "traceparent": {"type": "string", "description": "W3C trace context."},
        "tracestate": {"type": "string"},
        "correlation": {"type": "string", "description": "Joins a conversation over all hops."},
        "causation": {"type": "string", "description": "Id of the message that led to this one."},
        "deadline": {"type": "integer", "description": "Milliseconds since the epoch; expired work never starts."},
        "tenant": {"type": "string"},
        "shadow": {"type": "string"},
        "reply": {"type": "string", "description": "Address of the caller, process/call."},
        "log": {"type": "string", "description": "Id under which the streamed answer can be resumed."},
        "seq": {"type": "integer", "description": "Place of a reply in a streamed answer, from 1 on."},
        "data": {"type": "string", "description": "JSON, or a blob reference above 256 KiB."},
    },
}


def json_schemas() -> dict[str, Json]:
    """Return the JSON Schema of every message type by file name."""
    return {f"{name}.json": _schema(model) for name, model in sorted(TYPES.items())}


def _schema(model: type[Message]) -> Json:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema(), "title": model.type}


def asyncapi() -> Json:
    """Return the AsyncAPI 3 document: a channel a stream, an operation a service and direction."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Archive-AI streams",
            "version": "1",
            "description": __doc__ and "Typed messages on streams.",
        },
        "defaultContentType": "application/json",
        "channels": {stream.name: _channel(stream) for stream in STREAMS.values()},
        "operations": dict(_operations()),
        "components": {
            "schemas": {"envelope": ENVELOPE},
            "messages": {
                name: {"name": name, "payload": {"$ref": f"./{name}.json"}, "summary": _summary(model)}
                for name, model in sorted(TYPES.items())
            },
        },
    }


def _channel(stream: Stream) -> Json:
    partition = {"address": f"{{{stream.name}:{{partition}}}}"} if stream.kind is not Kind.WORK else {}
    return {
        "address": stream.physical(),
        **partition,
        "description": stream.about,
        "messages": {model.type: {"$ref": f"#/components/messages/{model.type}"} for model in stream.messages},
        "x-kind": str(stream.kind),
        "x-server": str(stream.server),
        "x-lease-s": stream.lease.total_seconds(),
        "x-attempts": stream.attempts,
        "x-retention-s": stream.retention.total_seconds(),
    }


def _operations() -> Iterator[tuple[str, Json]]:
    for stream in STREAMS.values():
        for service in stream.producers:
            yield f"{service}.send.{stream.name}", _operation("send", stream, stream.messages)
        for group, models in stream.consumers.items():
            yield f"{group}.receive.{stream.name}", _operation("receive", stream, models)
        for service in stream.followers:
            yield f"{service}.follow.{stream.name}", _operation("receive", stream, stream.messages)


def _operation(action: str, stream: Stream, models: tuple[type[Message], ...]) -> Json:
    channel = f"#/channels/{stream.name}"
    return {
        "action": action,
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{model.type}"} for model in models],
    }


def picture() -> str:
    """Return the topology as a Mermaid flowchart: who publishes to whom."""
    lines = ["flowchart LR", '    programs(["programs and people"]) -- HTTP --> gateway']
    lines += [f"    {service}[{service}]" for service in SERVICES]
    for stream in STREAMS.values():
        if stream.kind in {Kind.WORK, Kind.LANE, Kind.INGRESS}:
            node = stream.name.replace(".", "_")
            lines.append(f"    {node}[/{stream.name}/]")
            lines += [f"    {_node(service)} --> {node}" for service in stream.producers]
            lines += [f"    {node} --> {group}" for group in stream.consumers]
    lines.append('    foreign(["foreign publishers"])')
    return "\n".join(lines)


def _node(service: str) -> str:
    return "foreign" if service == "external" else service


def table() -> str:
    """Return the streams as a Markdown table."""
    rows = ["| stream | what flows | from | to |", "|---|---|---|---|"]
    for stream in STREAMS.values():
        readers = [*stream.consumers, *(f"{name} (follows)" for name in stream.followers)]
        rows.append(f"| `{stream.name}` | {stream.about} | {', '.join(stream.producers)} | {', '.join(readers)} |")
    return "\n".join(rows)


def table_of(service: str) -> str:
    """Return what one service reads and writes as a Markdown table; of what it reads, the types it handles."""
    rows = ["| stream | | |", "|---|---|---|"]
    for stream in STREAMS.values():
        if service in stream.consumers:
            types = ", ".join(f"`{model.type}`" for model in stream.consumers[service])
            rows.append(f"| `{stream.name}` | consumes | {types} |")
        rows += [
            f"| `{stream.name}` | {verb} | {stream.about} |"
            for verb, services in (("follows", stream.followers), ("publishes", stream.producers))
            if service in services
        ]
    return "\n".join(rows)


def generated(root: Path) -> dict[Path, str]:
    """Return the text of every generated file below the repository's root."""
    files = {root / SCHEMAS / name: _json(schema) for name, schema in json_schemas().items()}
    files[root / SCHEMAS / "asyncapi.yaml"] = "\n".join(_yaml(asyncapi())) + "\n"
    pages = {root / README: {"topology": f"```mermaid\n{picture()}\n```", "streams": table()}}
    pages |= {root / "services" / name / README: {"streams": table_of(name)} for name in SERVICES}
    files |= {page: _filled(page.read_text(), parts) for page, parts in pages.items() if page.exists()}
    return files


def _filled(text: str, parts: Mapping[str, str]) -> str:
    for name, part in parts.items():
        begin, end = f"<!-- {name}: generated by make schemas -->", f"<!-- end of {name} -->"
        if begin in text and end in text:
            head, _, rest = text.partition(begin)
            text = f"{head}{begin}\n{part}\n{end}{rest.partition(end)[2]}"
    return text


def _json(value: Json) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _yaml(value: Any, indent: str = "") -> Iterator[str]:
    """Write nested mappings and lists as block YAML; scalars are JSON's, which YAML reads."""
    for key, item in value.items():
        if isinstance(item, dict) and item:
            yield f"{indent}{json.dumps(key)}:"
            yield from _yaml(item, indent + "  ")
        elif isinstance(item, list) and item:
            yield f"{indent}{json.dumps(key)}:"
            yield from (f"{indent}  - {json.dumps(element, ensure_ascii=False)}" for element in cast("list[Any]", item))
        else:
            yield f"{indent}{json.dumps(key)}: {json.dumps(item, ensure_ascii=False)}"


def _summary(model: type[Message]) -> str:
    return (model.__doc__ or "").strip().split("\n")[0]


def breaks(root: Path, *, revision: str = "") -> tuple[list[str], list[tuple[str, Break]]]:
    """Return the revisions that the messages were compared with, and what breaks, each with its revision.

    Raises:
        HistoryUnavailable: there is nothing to compare with.
    """
    now = {Path(name).stem: schema for name, schema in json_schemas().items()}
    changed = not revision and committed.schemas(root, "HEAD", SCHEMAS) != now
    bases = committed.bases(root, SCHEMAS, named=revision, changed=changed)
    return bases, [(base, one) for base in bases for one in compare_all(committed.schemas(root, base, SCHEMAS), now)]


def _compat(root: Path, revision: str, *, strict: bool) -> int:
    try:
        bases, found = breaks(root, revision=revision)
    except HistoryUnavailable as error:
        # A named revision was asked for; without one, an archive or a shallow clone must still pass its other checks.
        sys.stdout.write(f"schemas were compared with nothing: {error}\n")
        return 2 if revision else 0
    fatal = [one for _, one in found if strict or one.reader is not Reader.OLD]
    for base, one in found:
        sys.stdout.write(f"{'breaks' if one in fatal else 'widens'} {base[:12]}: {one}\n")
    if fatal:
        sys.stdout.write("next: keep the type as it was and add a new version beside it (contracts/README.md)\n")
        return 1
    sys.stdout.write(f"schemas are compatible with {', '.join(base[:12] for base in bases)}\n")
    return 0


def _write(root: Path, *, check: bool) -> int:
    files = generated(root)
    stale = [path for path in (root / SCHEMAS).glob("*.*") if path not in files]
    different = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    for path in (*different, *stale):
        sys.stdout.write(f"{'differs' if check else 'written' if path in files else 'removed'}: {path}\n")
    if check:
        return 1 if different or stale else 0
    for path in stale:
        path.unlink()
    for path in different:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path])
    return 0


def main(arguments: list[str]) -> int:
    """Write the files, say which differ, or say what breaks. Returns the exit code."""
    root = Path(next((argument for argument in arguments if not argument.startswith("-")), "."))
    for argument in arguments:
        option, _, revision = argument.partition("=")
        if option == "--compat":
            return _compat(root, revision, strict=not version("archive-contracts").startswith("0."))
    return _write(root, check="--check" in arguments)


if __name__ == "__main__":  # pragma: no cover - the same as main()
    sys.exit(main(sys.argv[1:]))
