"""What of the originals' APIs is answered here."""

from archive_gateway.routes.compat import (
    agent,
    chat,
    history,
    library,
    memories,
    monitor,
    research,
    research_events,
    smart,
)
from archive_gateway.routes.table import Face

_talk = Face("assistant", scope="inference")
_assistant = Face("assistant")
_library = Face("library")
_memories = Face("memories")
_engines = Face("engines", scope=None)
_probes = Face("probes")
_operators = Face("probes", scope="operator")
_ASKED = (404, 429, 502, 504)
"""What can happen to a request that a model has to answer."""

COMPAT = (
    _talk.post("/chat", chat.chat, body=chat.ChatMessageIn, answer=chat.ChatMessageOut, errors=_ASKED),
    _assistant.post(
        "/research",
        research.research,
        body=research.ResearchQuestion,
        answer=research_events.ResearchAnswer,
        events={
            "source": research_events.ResearchSource,
            "delta": research_events.ResearchDelta,
            "done": research_events.ResearchAnswer,
        },
        errors=_ASKED,
        headers={"x-archive-stream": "The id of a streamed answer."},
        description="Streamed when asked for; a stream that fails ends with an event `error`.",
    ),
    _assistant.post("/agent", agent.run_agent, body=agent.AgentQuestion, answer=agent.AgentAnswer, errors=_ASKED),
    _assistant.post(
        "/agent/advanced", agent.run_advanced_agent, body=agent.AgentQuestion, answer=agent.AgentAnswer, errors=_ASKED
    ),
    _library.post(
        "/library/search",
        library.search_library,
        body=library.LibraryQuery,
        answer=library.LibraryResults,
        errors=(504,),
    ),
    _library.get("/library/stats", library.library_stats, answer=library.LibraryNumbers, errors=(504,)),
    _memories.get(
        "/memories", memories.list_memories, query=memories.MemoryPage, answer=memories.MemoryList, errors=(504,)
    ),
    _memories.post(
        "/memories/search",
        memories.search_memories,
        body=memories.MemoryQuery,
        answer=memories.MemoryList,
        errors=(504,),
    ),
    _memories.get("/memories/{memory}", memories.get_memory, answer=memories.Memory, errors=(404, 504)),
    _memories.delete("/memories/{memory}", memories.forget_memory, answer=memories.MemoryDeleted, errors=(404, 504)),
    _talk.post(
        "/smart",
        smart.smart,
        body=smart.SmartRequest,
        answer=smart.SmartAnswer,
        several=smart.SmartFailure,
        events={"": smart.SmartPiece},
        description="A failure is told by `status`, with HTTP 200, as the original does.",
    ),
    _engines.get("/providers/health", smart.providers_health, answer=smart.ProvidersHealth),
    _engines.get("/guardrails/metrics", smart.guardrails_metrics, answer=smart.GuardrailsMetrics),
    _probes.get(
        "/metrics",
        history.metrics_by_time,
        query=history.MetricsQuery,
        answer=monitor.SystemMetrics,
        several=history.MetricsHistory,
        description="With `hours` the figures of the last hours (for operators), without it those of this moment.",
    ),
    _operators.delete("/metrics", history.clear_metrics, answer=history.Cleared),
    _operators.get("/metrics/current", history.current_metrics, answer=history.MetricsSample),
    _operators.post("/metrics/record", history.record_metrics, query=history.RecordQuery, answer=history.Recorded),
)
