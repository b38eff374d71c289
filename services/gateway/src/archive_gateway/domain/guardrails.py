"""Bounds on what one request may hold, whatever key it comes with."""

from dataclasses import dataclass

from archive_gateway.domain.errors import Crowded, Guarded
from archive_gateway.domain.usage import tokens_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrails:
    """The bounds, by the names of their settings."""

    max_messages: int = 4096
    max_message_chars: int = 4_000_000
    max_prompt_tokens: int = 2_000_000
    max_answer_tokens: int = 1_000_000
    max_choices: int = 128
    max_concurrent: int = 1000

    def check_messages(self, count: int, longest: int, param: str = "messages") -> None:
        """Raise Guarded for too many messages or a too long one."""
        if count > self.max_messages:
            raise Guarded(
                f"{count} messages are more than the guardrail max_messages of {self.max_messages} allows.",
                rule="max_messages",
                param=param,
            )
        if longest > self.max_message_chars:
            raise Guarded(
                f"A message of {longest} characters is longer than the guardrail max_message_chars of "
                f"{self.max_message_chars} allows.",
                rule="max_message_chars",
                param=param,
            )

    def check_sizes(self, *, prompt_chars: int, answer_tokens: int, choices: int) -> None:
        """Raise Guarded for too long a prompt, too long an answer, or too many of them."""
        found: tuple[tuple[str, int, int, str, str], ...] = (
            ("max_prompt_tokens", tokens_in(prompt_chars), self.max_prompt_tokens, "tokens of prompt", "messages"),
            ("max_answer_tokens", answer_tokens, self.max_answer_tokens, "tokens of answer", "max_tokens"),
            ("max_choices", choices, self.max_choices, "answers at once", "n"),
        )
        for rule, value, most, what, param in found:
            if value > most:
                raise Guarded(
                    f"About {value} {what} are more than the guardrail {rule} of {most} allows.",
                    rule=rule,
                    param=param,
                )

    def check_concurrent(self, running: int) -> None:
        """Raise Crowded when as many requests of one key as are allowed are in flight here."""
        if running >= self.max_concurrent:
            raise Crowded(
                f"{running} requests of this key are in flight, as many as the guardrail max_concurrent allows.",
                next_step="Wait for one of them, or raise GATEWAY_MAX_CONCURRENT.",
            )
