"""What the engine worker counts, by the names of OpenTelemetry's conventions for generative AI."""

from prometheus_client import REGISTRY

from archive_engine.adapters.measuring import GenAiMetrics
from archive_engine.domain.ports import Outcome


def value(name: str, provider: str, operation: str = "text_completion", **more: str) -> float | None:
    """Return a sample as Prometheus scrapes it."""
    labels = {
        "gen_ai_operation_name": operation,
        "gen_ai_provider_name": provider,
        "gen_ai_request_model": "asked",
        "gen_ai_response_model": "answered",
    }
    return REGISTRY.get_sample_value(name, labels | more)


def test_streamed_call_is_measured() -> None:
    outcome = Outcome(
        operation="completion",
        requested="asked",
        answered="answered",
        duration_s=3.0,
        first_chunk_s=1.0,
        chunks=5,
        prompt_tokens=7,
        completion_tokens=4,
        bad_chunks=2,
    )
    GenAiMetrics(provider="measured")(outcome)
    assert value("gen_ai_client_operation_duration_seconds_sum", "measured", error_type="") == 3.0
    assert value("gen_ai_client_token_usage_sum", "measured", gen_ai_token_type="input") == 7
    assert value("gen_ai_client_token_usage_sum", "measured", gen_ai_token_type="output") == 4
    assert value("gen_ai_client_operation_time_to_first_chunk_seconds_sum", "measured") == 1.0
    assert value("gen_ai_client_operation_time_per_output_chunk_seconds_sum", "measured") == 0.5
    assert REGISTRY.get_sample_value("archive_engine_bad_chunks_total", {"engine": "measured"}) == 2


def test_failure_is_told_apart() -> None:
    failed = Outcome(
        operation="completion", requested="asked", answered="answered", duration_s=0.5, error="upstream_cut"
    )
    GenAiMetrics(provider="failing")(failed)
    assert value("gen_ai_client_operation_duration_seconds_count", "failing", error_type="upstream_cut") == 1
    assert value("gen_ai_client_operation_duration_seconds_count", "failing", error_type="") is None
    assert value("gen_ai_client_operation_time_to_first_chunk_seconds_count", "failing") is None


def test_embedding_counts_what_it_read() -> None:
    outcome = Outcome(operation="embedding", requested="asked", answered="answered", duration_s=0.2, prompt_tokens=9)
    GenAiMetrics(provider="embedding")(outcome)
    assert value("gen_ai_client_operation_duration_seconds_count", "embedding", "embeddings", error_type="") == 1
    assert value("gen_ai_client_token_usage_sum", "embedding", "embeddings", gen_ai_token_type="input") == 9
    assert value("gen_ai_client_token_usage_sum", "embedding", "embeddings", gen_ai_token_type="output") is None
