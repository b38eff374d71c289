"""GenAI metrics by OpenTelemetry's names, as Prometheus spells them.

Names and buckets: OpenTelemetry semantic conventions for generative AI, metrics of clients.
"""

from collections.abc import Sequence

from prometheus_client import Histogram

from archive_engine.domain.ports import Outcome
from archive_telemetry import counter, histogram

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
CHUNK_SECONDS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.5)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)

_OPERATIONS = {"chat": "chat", "completion": "text_completion", "rerank": "rerank", "embedding": "embeddings"}
_LABELS = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "gen_ai_response_model")


class _Labelled:
    """A histogram by its labels, which are looked up here: prometheus_client takes a lock and makes text of each."""

    def __init__(self, name: str, help_text: str, *own: str, buckets: Sequence[float]) -> None:
        self._whole = histogram(name, help_text, *_LABELS, *own, buckets=buckets)
        self._known: dict[tuple[str, ...], Histogram] = {}

    def observe(self, value: float, *labels: str) -> None:
        """Take a value in."""
        found = self._known.get(labels)
        if found is None:
            found = self._known[labels] = self._whole.labels(*labels)
        found.observe(value)


class GenAiMetrics:
    """Counts the calls of one engine. ``provider`` is the engine's name."""

    def __init__(self, *, provider: str) -> None:
        self._provider = provider
        self._duration = _Labelled(
            "gen_ai_client_operation_duration_seconds", "Time of a call.", "error_type", buckets=SECONDS
        )
        self._tokens = _Labelled("gen_ai_client_token_usage", "Tokens of a call.", "gen_ai_token_type", buckets=TOKENS)
        self._first = _Labelled(
            "gen_ai_client_operation_time_to_first_chunk_seconds", "Time to the first token.", buckets=SECONDS
        )
        self._each = _Labelled(
            "gen_ai_client_operation_time_per_output_chunk_seconds",
            "Time between chunks after the first.",
            buckets=CHUNK_SECONDS,
        )
        self._bad = counter("archive_engine_bad_chunks", "Chunks that were no JSON and were left out.", "engine")

    def __call__(self, outcome: Outcome) -> None:
        """Take in a call that ended."""
        labels = (_OPERATIONS[outcome.operation], self._provider, outcome.requested, outcome.answered)
        self._duration.observe(outcome.duration_s, *labels, outcome.error)
        for kind, tokens in (("input", outcome.prompt_tokens), ("output", outcome.completion_tokens)):
            if tokens:
                self._tokens.observe(tokens, *labels, kind)
        if outcome.first_chunk_s is not None:
            self._first.observe(outcome.first_chunk_s, *labels)
            if outcome.chunks > 1:
                rest = outcome.duration_s - outcome.first_chunk_s
                self._each.observe(rest / (outcome.chunks - 1), *labels)
        if outcome.bad_chunks:
            self._bad.labels(self._provider).inc(outcome.bad_chunks)
