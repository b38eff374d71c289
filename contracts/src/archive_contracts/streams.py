"""The one map: which messages flow where, who publishes them and who consumes them.

Everything that must agree with it is generated from it or tested against it: schemas, the AsyncAPI document, the
topology picture, the tables of the README, access rules and scaling triggers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from zlib import crc32

from archive_contracts import (
    actions,
    agents,
    base,
    chat,
    control,
    conversations,
    documents,
    engine,
    jobs,
    keys,
    memory,
    publishers,
    tools,
)
from archive_contracts.base import Message

MessageTypes = tuple[type[Message], ...]


class Kind(StrEnum):
    """How a stream is read."""

    WORK = "work"
    """By consumer groups: every group handles every message of its types at least once."""
    LANE = "lane"
    """Work whose partitions are pools of engines, named when they appear; one group."""
    BROADCAST = "broadcast"
    """By every process that follows it, without a group; only what is recent counts."""
    JOURNAL = "journal"
    """One physical stream for each entity: the truth about it, folded by whoever asks."""
    REPLIES = "replies"
    """One physical stream for each calling process; may be lost."""
    LOG = "log"
    """One physical stream for each streamed answer, which lives for ``retention`` after its end; may be lost."""
    INGRESS = "ingress"
    """Written by foreign publishers; only ``type`` and ``data`` are needed."""


class Server(StrEnum):
    """Which of the two Redis roles holds a stream."""

    BUS = "bus"
    STATE = "state"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One logical stream.

    ``consumers`` maps a group to the types it handles; the group's other types are acknowledged unread. ``retention``
    is how long an entry is kept after every group has acknowledged it. ``lease`` is how long a silent consumer keeps a
    message; a living one renews it. After ``attempts`` failed runs a message goes to the dead letters of its group.

    With more than one of ``partitions`` the messages of one ``key``, a field that each of them has, keep their order.
    A partition of a stream with several ``priorities`` is a lane for each.

    Journals cannot be listed: what one carries of the messages of its ``listing`` is published there as well.
    """

    name: str
    about: str
    messages: MessageTypes
    producers: tuple[str, ...]
    consumers: Mapping[str, MessageTypes] = field(default_factory=dict[str, MessageTypes])
    followers: tuple[str, ...] = ()
    kind: Kind = Kind.WORK
    server: Server = Server.BUS
    partitions: int = 1
    key: str = ""
    priorities: tuple[chat.Priority, ...] = ("interactive",)
    retention: timedelta = timedelta(0)
    lease: timedelta = timedelta(seconds=15)
    attempts: int = 5
    max_length: int | None = None
    listing: "Stream | None" = None

    def __post_init__(self) -> None:
        """Refuse a stream that nobody acknowledges and nothing bounds: its server would trim it to nothing at once."""
        if self.kind in {Kind.BROADCAST, Kind.REPLIES} and not self.max_length:
            raise ValueError(f"stream {self.name!r} has no group that acknowledges; give it a max_length")

    @property
    def ordered(self) -> bool:
        """Whether messages of one key are handled one after the other, in the order in which they were published."""
        return self.partitions > 1

    def key_of(self, message: Message) -> str:
        """Return what a message is ordered by; nothing on a stream that is not ordered."""
        return str(getattr(message, self.key)) if self.partitions > 1 else ""

    def partition_of(self, message: Message) -> str:
        """Return the partition that a message belongs to: CRC-32 of its key, modulo the number of partitions."""
        if self.partitions == 1:
            return "0"
        return str(crc32(self.key_of(message).encode(errors="replace")) % self.partitions)

    def lane(self, partition: str, priority: chat.Priority = "interactive") -> str:
        """Return the partition for messages of a priority; one that the stream does not tell apart is the first's."""
        return partition if priority not in self.priorities[1:] else f"{partition}~{priority}"

    def physical(self, partition: str | int = 0) -> str:
        """Return the key in Redis; topic and partition share the hash tag, so that all keys of a partition do too."""
        return f"{{{self.name}:{partition}}}"


def dead_letters(physical: str, group: str) -> str:
    """Return the key of the dead letters of a group."""
    return f"{physical}:{group}:dead"


CHAT_REQUESTS = Stream(
    name="chat.requests",
    about="Chats and completions to be routed to a lane.",
    messages=(chat.ChatRequested,),
    producers=("gateway", "agent", "console"),
    consumers={"router": (chat.ChatRequested,)},
)
EMBEDDING_REQUESTS = Stream(
    name="embeddings.requests",
    about="Texts from clients, to be routed to an embedding lane.",
    messages=(engine.EmbedRequested,),
    producers=("gateway",),
    consumers={"router": (engine.EmbedRequested,)},
)
ENGINE_JOBS = Stream(
    name="engine.jobs",
    about="One lane for each pool of engines; its backlog is the demand for that model. Beside it one a worker.",
    messages=(engine.GenerateRequested, engine.EmbedRequested),
    producers=("router", "engine", "memory"),
    consumers={"engine": (engine.GenerateRequested, engine.EmbedRequested)},
    followers=("router",),
    kind=Kind.LANE,
    priorities=("interactive", "batch"),
    attempts=3,
)
ENGINE_EVENTS = Stream(
    name="engine.events",
    about="Heartbeats of engine workers: pool, models, capabilities, slots.",
    messages=(engine.EngineRegistered, engine.EngineLeft, engine.LaneDeserted),
    producers=("engine", "router"),
    followers=("router", "gateway", "agent", "engine", "console"),
    kind=Kind.BROADCAST,
    max_length=5_000,
)
ENGINE_REGISTRY = Stream(
    name="engine.registry",
    about="Engines added and removed by API and page: the list is its fold, and hosts of workers follow it.",
    messages=(engine.RegisterEngine, engine.RemoveEngine),
    producers=("gateway", "console"),
    followers=("engine", "gateway", "console"),
    kind=Kind.JOURNAL,
    retention=timedelta(days=3650),
)
CHAT_EVENTS = Stream(
    name="chat.events",
    about="Completed exchanges, for whoever remembers or counts.",
    messages=(chat.ChatCompleted,),
    producers=("engine",),
    consumers={"memory": (chat.ChatCompleted,)},
    retention=timedelta(days=1),
)
DOCUMENT_COMMANDS = Stream(
    name="documents.commands",
    about="Files, stored or to be fetched from the web, to be turned into chunks.",
    messages=(documents.IngestDocument, documents.FetchDocument),
    producers=("gateway", "librarian", "console"),
    consumers={
        "librarian": (documents.IngestDocument, documents.FetchDocument),
        "memory": (documents.IngestDocument,),
    },
    lease=timedelta(seconds=20),
)
DOCUMENT_CHUNKS = Stream(
    name="documents.chunks",
    about="Chunks in batches, to be embedded and indexed.",
    messages=(documents.DocumentChunked,),
    producers=("librarian",),
    consumers={"memory": (documents.DocumentChunked,)},
    key="document_id",
    lease=timedelta(seconds=20),
)
DOCUMENT_EVENTS = Stream(
    name="documents.events",
    about="What became of documents.",
    messages=(documents.DocumentIngested, documents.DocumentFailed, documents.DocumentDeleted),
    producers=("librarian", "memory"),
    consumers={
        "librarian": (documents.DocumentIngested, documents.DocumentFailed),
        "memory": (documents.DocumentFailed,),
    },
    retention=timedelta(days=7),
)
MEMORY_QUERIES = Stream(
    name="memory.queries",
    about="Questions that memory answers to the caller.",
    messages=(
        memory.SearchChunks,
        memory.RecallMemories,
        memory.ListDocuments,
        memory.GetDocument,
        memory.GetDocumentText,
        memory.GetLibraryStats,
        memory.ListMemories,
        memory.GetMemory,
    ),
    producers=("gateway", "agent", "tool-runner", "librarian", "console"),
    consumers={
        "memory": (
            memory.SearchChunks,
            memory.RecallMemories,
            memory.ListDocuments,
            memory.GetDocument,
            memory.GetDocumentText,
            memory.GetLibraryStats,
            memory.ListMemories,
            memory.GetMemory,
        )
    },
    attempts=2,
)
MEMORY_COMMANDS = Stream(
    name="memory.commands",
    about="Changes to what is remembered, answered when durable.",
    messages=(memory.ForgetMemory, memory.ForgetSession, documents.DeleteDocument),
    producers=("gateway", "console"),
    consumers={"memory": (memory.ForgetMemory, memory.ForgetSession, documents.DeleteDocument)},
)
MEMORY_EVENTS = Stream(
    name="memory.events",
    about="What memory stored and forgot.",
    messages=(memory.MemoryStored, memory.MemoryForgotten, memory.SessionForgotten),
    producers=("memory",),
    followers=("external",),
    kind=Kind.BROADCAST,
    max_length=10_000,
)
AGENT_COMMANDS = Stream(
    name="agent.commands",
    about="Research questions and ReAct runs.",
    messages=(agents.RunResearch, agents.RunAgent),
    producers=("gateway", "console"),
    consumers={"agent": (agents.RunResearch, agents.RunAgent)},
)
RUNS_JOURNAL = Stream(
    name="runs.journal",
    about="One journal for each run; state is its fold.",
    messages=(agents.RunStarted, agents.RunModelReplied, agents.RunToolReturned, agents.RunFinished),
    producers=("agent",),
    followers=("gateway", "console"),
    kind=Kind.JOURNAL,
    retention=timedelta(days=7),
)
JOBS_QUEUED = Stream(
    name="jobs.queued",
    about="Each job as it was accepted: journals cannot be listed, and people ask what there is.",
    messages=(jobs.JobQueued,),
    producers=("gateway", "librarian", "console"),
    followers=("gateway",),
    kind=Kind.BROADCAST,
    max_length=10_000,
)
JOBS_JOURNAL = Stream(
    name="jobs.journal",
    about="One journal for each job: queued, progress, end.",
    messages=(jobs.JobQueued, jobs.JobProgressed, jobs.JobFinished),
    producers=("gateway", "librarian", "memory", "console"),
    followers=("gateway", "console"),
    kind=Kind.JOURNAL,
    retention=timedelta(days=7),
    listing=JOBS_QUEUED,
)
KEYS_JOURNAL = Stream(
    name="keys.journal",
    about="API keys: created, rotated, revoked; their digests only. Each door folds it.",
    messages=(keys.KeyCreated, keys.KeyRotated, keys.KeyRevoked),
    producers=("gateway", "external"),
    followers=("gateway", "console"),
    kind=Kind.JOURNAL,
    retention=timedelta(days=36_500),
)
OPERATOR_ACTIONS = Stream(
    name="operator.actions",
    about="What operators did by hand, with who and why.",
    messages=(actions.ActionTaken,),
    producers=("console",),
    followers=("external",),
    kind=Kind.BROADCAST,
    max_length=10_000,
)
TOOL_COMMANDS = Stream(
    name="tools.commands",
    about="Tools to be run.",
    messages=(tools.RunTool,),
    producers=("agent",),
    consumers={"tool-runner": (tools.RunTool,)},
)
TOOL_EVENTS = Stream(
    name="tools.events",
    about="Heartbeats of tool runners: what they offer.",
    messages=(tools.ToolsRegistered, tools.ToolRunnerLeft),
    producers=("tool-runner",),
    followers=("agent",),
    kind=Kind.BROADCAST,
    max_length=500,
)
CONVERSATION_COMMANDS = Stream(
    name="conversations.commands",
    about="What people ask and are answered on the page, kept until they delete it.",
    messages=(
        conversations.RecordQuestion,
        conversations.RecordAnswer,
        conversations.RenameConversation,
        conversations.DeleteConversation,
    ),
    producers=("console",),
    consumers={
        "console": (
            conversations.RecordQuestion,
            conversations.RecordAnswer,
            conversations.RenameConversation,
            conversations.DeleteConversation,
        )
    },
)
CONTROL = Stream(
    name="control",
    about="Cancellation, heard by every process.",
    messages=(control.CancelRequested,),
    producers=("gateway", "agent", "console", "router"),
    followers=("agent", "engine", "librarian", "memory", "router", "tool-runner"),
    kind=Kind.BROADCAST,
    max_length=1_000,
)
REPLIES = Stream(
    name="replies",
    about="Answers to the process that asked, one stream each.",
    messages=(
        base.Failed,
        chat.ChatDelta,
        chat.ChatCompleted,
        engine.Embedded,
        memory.ChunksFound,
        memory.MemoriesFound,
        memory.MemoryForgotten,
        memory.SessionForgotten,
        memory.DocumentsFound,
        memory.DocumentText,
        memory.LibraryStats,
        documents.DocumentDeleted,
        conversations.ConversationSaved,
        agents.SourceFound,
        agents.AnswerDelta,
        agents.ResearchCompleted,
        agents.AgentCompleted,
        tools.ToolCompleted,
    ),
    producers=("router", "engine", "memory", "agent", "tool-runner", "console"),
    followers=("gateway", "agent", "memory", "tool-runner", "librarian", "console"),
    kind=Kind.REPLIES,
    server=Server.STATE,
    max_length=20_000,
)
ANSWERS = Stream(
    name="answers",
    about="The log of one streamed answer, resumed from any place by any process.",
    messages=(
        base.Failed,
        chat.ChatDelta,
        chat.ChatCompleted,
        agents.SourceFound,
        agents.AnswerDelta,
        agents.ResearchCompleted,
        agents.AgentCompleted,
    ),
    producers=("router", "engine", "agent"),
    followers=("gateway", "console", "engine", "agent"),
    kind=Kind.LOG,
    server=Server.STATE,
    retention=timedelta(minutes=10),
)
INGRESS = Stream(
    name="ingress.default",
    about="Documents from foreign publishers.",
    messages=(documents.IngestFromOutside,),
    producers=("external",),
    consumers={"gateway": (documents.IngestFromOutside,)},
    kind=Kind.INGRESS,
)
PUBLISHERS_JOURNAL = Stream(
    name="publishers.journal",
    about="Doors for foreign publishers, opened and closed by operators: tenant and types of each.",
    messages=(publishers.IngressCreated, publishers.IngressRemoved),
    producers=("external",),
    followers=("gateway",),
    kind=Kind.JOURNAL,
    retention=timedelta(days=36_500),
)

STREAMS: Mapping[str, Stream] = {
    stream.name: stream
    for stream in (
        CHAT_REQUESTS,
        EMBEDDING_REQUESTS,
        ENGINE_JOBS,
        ENGINE_EVENTS,
        ENGINE_REGISTRY,
        CHAT_EVENTS,
        DOCUMENT_COMMANDS,
        DOCUMENT_CHUNKS,
        DOCUMENT_EVENTS,
        MEMORY_QUERIES,
        MEMORY_COMMANDS,
        MEMORY_EVENTS,
        AGENT_COMMANDS,
        RUNS_JOURNAL,
        JOBS_JOURNAL,
        JOBS_QUEUED,
        KEYS_JOURNAL,
        OPERATOR_ACTIONS,
        TOOL_COMMANDS,
        TOOL_EVENTS,
        CONVERSATION_COMMANDS,
        CONTROL,
        REPLIES,
        ANSWERS,
        INGRESS,
        PUBLISHERS_JOURNAL,
    )
}

SERVICES = ("gateway", "console", "router", "engine", "memory", "librarian", "agent", "tool-runner")
"""Every service of the map, in the order in which requests meet them."""

TYPES: Mapping[str, type[Message]] = {
    message.type: message for stream in STREAMS.values() for message in stream.messages
}


def at(physical: str) -> tuple[Stream, str]:
    """Return the stream and the partition that a physical key belongs to.

    Raises:
        KeyError: the key is of no stream of the map.
    """
    # A partition may hold colons (a lane of one worker is pool:worker), the name of a stream may not.
    name, _, partition = physical.removeprefix("{").removesuffix("}").partition(":")
    return named(name), partition


def ingress(name: str) -> Stream:
    """Return the stream of one foreign publisher; all of them are like the default one."""
    return replace(INGRESS, name=f"ingress.{name}")


def named(name: str) -> Stream:
    """Return the stream of a name.

    Raises:
        KeyError: the map knows no such stream.
    """
    kind, _, publisher = name.partition(".")
    return STREAMS[name] if name in STREAMS or kind != "ingress" or not publisher else ingress(publisher)


def exists(name: str) -> bool:
    """Whether the map knows a stream of that name."""
    return name in STREAMS or name.startswith("ingress.")
