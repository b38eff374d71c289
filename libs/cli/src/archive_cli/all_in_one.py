"""All services in one process, for small machines; everything else is as with a process each."""

import json
import os
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, cast

Part = tuple[str, Mapping[str, str]]


def main() -> None:
    """Run the services that ARCHIVE_ALL_IN_ONE lists: a JSON array of [service, environment]."""
    listed = cast("list[Part]", json.loads(os.environ.get("ARCHIVE_ALL_IN_ONE", "[]")))
    if not listed:
        sys.stderr.write("all-in-one: nothing to run; start it with `archive up --all-in-one`\n")
        sys.exit(2)
    # Services are not dependencies of this package: what is installed beside it is found by name.
    telemetry: Any = import_module("archive_telemetry")
    apps = [_app(service, env, telemetry) for service, env in listed]
    telemetry.run_all(apps, name="all-in-one")


def _app(service: str, env: Mapping[str, str], telemetry: Any) -> Any:
    package = f"archive_{service.replace('-', '_')}"
    settings: Any = import_module(f"{package}.settings")
    application: Any = import_module(f"{package}.app")
    # Two engines of one process differ by nothing but what they read here.
    with _environment(env):
        chosen = telemetry.read_settings(service, settings.Settings)
    return application.build(chosen)


@contextmanager
def _environment(overlay: Mapping[str, str]) -> Generator[None]:
    before = {name: os.environ.get(name) for name in overlay}
    os.environ.update(overlay)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


if __name__ == "__main__":
    main()
