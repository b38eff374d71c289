"""chat and agent: conversations, and questions worked on in steps."""

import argparse
import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from archive_cli.commands._options import Verbs, gateway, gateway_options, steps, verb
from archive_cli.console import Console
from archive_cli.errors import CliError, UsageError

if TYPE_CHECKING:
    from archive_cli.gateway import Gateway

Turn = dict[str, str]


def add(verbs: Verbs) -> None:
    """Add these verbs."""
    options = [gateway_options()]
    chat = verb(verbs, "chat", run_chat, about="Converse with a model; from a pipe, one turn.", options=options)
    chat.add_argument("-m", "--message", help="say this, show the answer, and end")
    chat.add_argument("--model", default="auto", help="model to ask; `auto` leaves the choice to the router")
    chat.add_argument("--system", default="", help="instructions that precede the conversation")
    agent = verb(verbs, "agent", run_agent, about="Work on a question in steps, with tools.", options=options)
    agent.add_argument("question")
    agent.add_argument("--max-steps", type=steps, default=10, metavar="N", help="most steps, 1 to 50 (default 10)")
    agent.add_argument("--advanced", action="store_true", help="also the tools that reach documents and memory")


def run_chat(args: argparse.Namespace, console: Console) -> int:
    """Hold a conversation."""
    said = args.message
    if said is None and not sys.stdin.isatty():
        said = sys.stdin.read().strip()
        if not said:
            raise UsageError("There is nothing to say.", code="empty_message", next_step="pipe a text, or use -m TEXT")
    with gateway(args) as door:
        model = args.model
        turns: list[Turn] = [{"role": "system", "content": args.system}] if args.system else []
        if said is not None:
            answer = _turn(door, model, [*turns, {"role": "user", "content": said}], console)
            console.json({"model": model, "message": said, "response": answer})
            return 0
        return _converse(door, model, turns, console)


def run_agent(args: argparse.Namespace, console: Console) -> int:
    """Run the agent; exit 1 when it found no answer."""
    from archive_cli.answers import step_lines
    from archive_cli.gateway import problem_of

    path = "/agent/advanced" if args.advanced else "/agent/"
    with gateway(args) as door:
        result = door.post(path, {"question": args.question, "max_steps": args.max_steps})
    console.json(result)
    for step in result.get("steps", []):
        for line in step_lines(step):
            console.text(line)
    console.text(f"\n{result.get('answer', '')}")
    if not result.get("success", True):
        raise problem_of({"error": result.get("error") or "The agent found no answer."})
    return 0


def _converse(door: "Gateway", model: str, turns: list[Turn], console: Console) -> int:
    console.text(f"Model {model}. An empty line or Ctrl-D ends.")
    while True:
        try:
            said = input("> ").strip()
        except EOFError:
            said = ""
        if not said:
            return 0
        turns.append({"role": "user", "content": said})
        try:
            answer = _turn(door, model, turns, console)
        except CliError as error:
            # A failed turn ends the turn, not the conversation.
            console.problem(error)
            turns.pop()
            continue
        console.json({"model": model, "message": said, "response": answer})
        turns.append({"role": "assistant", "content": answer})


def _turn(door: "Gateway", model: str, turns: list[Turn], console: Console) -> str:
    """Ask once, writing the answer as it comes; return it whole."""
    from archive_cli.gateway import problem_of

    parts: list[str] = []
    complete = False
    body = {"model": model, "messages": turns, "stream": True}
    with door.events("POST", "/v1/chat/completions", body=body) as events:
        for event in events:
            if event.data == "[DONE]":
                complete = True
                break
            chunk: dict[str, Any] = json.loads(event.data)
            if "error" in chunk:
                raise problem_of(chunk)
            text = _delta(chunk)
            parts.append(text)
            console.text(text, end="")
    console.text()
    if not complete:
        raise CliError("The answer broke off.", code="stream_cut", next_step="ask again")
    return "".join(parts)


def _delta(chunk: Mapping[str, Any]) -> str:
    choices: list[dict[str, Any]] = list(chunk.get("choices") or [])
    delta: dict[str, Any] = (choices[0].get("delta") or {}) if choices else {}
    return str(delta.get("content") or "")
