"""GenAI metrics by OpenTelemetry's names, as Prometheus spells them.

Names and buckets: OpenTelemetry semantic conventions for generative AI, metrics of clients.
"""

from archive_engine.domain.ports import Outcome
from archive_telemetry import counter, histogram

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
CHUNK_SECONDS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.5)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)

_OPERATIONS = {"chat": "chat", "completion": "text_completion", "rerank": "rerank", "embedding": "embeddings"}
_LABELS = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "gen_ai_response_model")


class GenAiMetrics:
    """Counts the calls of one engine. ``provider`` is the engine's name."""

    def __init__(self, *, provider: str) -> None:
        self._provider = provider
        self._duration = histogram(
            "gen_ai_client_operation_duration_seconds", "Time of a call.", *_LABELS, "error_type", buckets=SECONDS
        )
        self._tokens = histogram(
            "gen_ai_client_token_usage", "Tokens of a call.", *_LABELS, "gen_ai_token_type", buckets=TOKENS
        )
        self._first = histogram(
            "gen_ai_client_operation_time_to_first_chunk_seconds", "Time to the first token.", *_LABELS, buckets=SECONDS
        )
        self._each = histogram(
            "gen_ai_client_operation_time_per_output_chunk_seconds",
            "Time between chunks after the first.",
            *_LABELS,
            buckets=CHUNK_SECONDS,
        )
        self._bad = counter("archive_engine_bad_chunks", "Chunks that were no JSON and were left out.", "engine")

    def __call__(self, outcome: Outcome) -> None:
        """Take in a call that ended."""
        labels = (_OPERATIONS[outcome.operation], self._provider, outcome.requested, outcome.answered)
        self._duration.labels(*labels, outcome.error).observe(outcome.duration_s)
        for kind, tokens in (("input", outcome.prompt_tokens), ("output", outcome.completion_tokens)):
            if tokens:
                self._tokens.labels(*labels, kind).observe(tokens)
        if outcome.first_chunk_s is not None:
            self._first.labels(*labels).observe(outcome.first_chunk_s)
            if outcome.chunks > 1:
                rest = outcome.duration_s - outcome.first_chunk_s
                self._each.labels(*labels).observe(rest / (outcome.chunks - 1))
        if outcome.bad_chunks:
            self._bad.labels(self._provider).inc(outcome.bad_chunks)
