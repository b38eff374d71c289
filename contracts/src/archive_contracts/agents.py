"""Runs of the agent: research with citations, and ReAct."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from archive_contracts.base import Message, Model, Problem


class EarlierTurn(Model):
    """What was asked and answered before in the same conversation."""

    question: str
    answer: str = ""


class ModelUse(Model):
    """What a run has asked of one model.

    ``cut`` counts calls that broke off, ``estimated`` those whose tokens no engine counted.
    """

    model: str
    requests: Annotated[int, Field(ge=0)] = 1
    prompt_tokens: Annotated[int, Field(ge=0)] = 0
    completion_tokens: Annotated[int, Field(ge=0)] = 0
    cut: Annotated[int, Field(ge=0)] = 0
    estimated: Annotated[int, Field(ge=0)] = 0


class RunResearch(Message):
    """Answer a question from the library and from memory, with sources."""

    type: ClassVar[str] = "agent.research.v1"
    run_id: str
    question: str
    use_library: bool = True
    use_memory: bool = True
    top_k: Annotated[int, Field(ge=1, le=50)] = 5
    stream: bool = False
    model: str = ""
    document_ids: tuple[str, ...] = ()
    turns: Annotated[
        tuple[EarlierTurn, ...],
        Field(description="Earlier turns of the conversation, oldest first: what the question may refer back to."),
    ] = ()


class Source(Model):
    """Something an answer may rest on."""

    number: Annotated[int, Field(description="N of [Source N].", ge=1)]
    type: Literal["library", "memory"]
    text: str
    sentence: Annotated[str, Field(description="The sentence nearest to the question.")] = ""
    page: Annotated[int | None, Field(description="The page of that sentence.")] = None
    filename: str = ""
    similarity: float = 0.0
    document_id: str = ""
    chunk_id: str = ""
    section: tuple[str, ...] = ()
    timestamp: float | None = None
    cited: Annotated[
        bool, Field(description="An answer sentence refers to this source, and the source supports it.")
    ] = False


class SourceFound(Message):
    """A source that the answer will be built on; comes before the first delta."""

    type: ClassVar[str] = "agent.source-found.v1"
    source: Source


class AnswerDelta(Message):
    """A piece of an answer's text."""

    type: ClassVar[str] = "agent.answer-delta.v1"
    text: str


class ResearchCompleted(Message):
    """The answer, and what it rests on."""

    type: ClassVar[str] = "agent.research-completed.v1"
    run_id: str
    question: str
    answer: str
    sources: tuple[Source, ...] = ()
    library_chunks_consulted: int = 0
    memories_consulted: int = 0
    success: bool = True
    engine: str = ""
    error: Problem | None = None
    used: tuple[ModelUse, ...] = ()


class RunAgent(Message):
    """Work on a question in steps, with tools."""

    type: ClassVar[str] = "agent.run.v1"
    run_id: str
    question: str
    max_steps: Annotated[int, Field(description="0 means 10.", ge=0, le=50)] = 10
    advanced: Annotated[bool, Field(description="Also the tools that reach memory and library.")] = False
    model: str = ""
    turns: Annotated[
        tuple[EarlierTurn, ...],
        Field(description="Earlier turns of the conversation, oldest first: what the question may refer back to."),
    ] = ()


class Step(Model):
    """One round of thought, action and observation."""

    step_number: int
    thought: str = ""
    action: str = ""
    action_input: str = ""
    observation: str = ""


class AgentCompleted(Message):
    """A run ended."""

    type: ClassVar[str] = "agent.completed.v1"
    run_id: str
    answer: str
    steps: tuple[Step, ...] = ()
    success: bool = True
    engine: str = ""
    error: Problem | None = None
    used: tuple[ModelUse, ...] = ()


class RunStarted(Message):
    """First entry of a run's journal."""

    type: ClassVar[str] = "run.started.v1"
    run_id: str
    kind: Literal["research", "react"]
    question: str
    max_steps: int = 0
    advanced: bool = False
    model: str = ""


class RunModelReplied(Message):
    """The model chose what to do next."""

    type: ClassVar[str] = "run.model-replied.v1"
    run_id: str
    step: int
    text: str
    engine: str = ""
    used: ModelUse | None = None


class RunToolReturned(Message):
    """A tool's outcome, as the run saw it."""

    type: ClassVar[str] = "run.tool-returned.v1"
    run_id: str
    step: int
    tool: str
    observation: str
    ok: bool = True


class RunFinished(Message):
    """Last entry of a run's journal."""

    type: ClassVar[str] = "run.finished.v1"
    run_id: str
    answer: str
    success: bool
    sources: tuple[Source, ...] = ()
    error: Problem | None = None
    used: Annotated[tuple[ModelUse, ...], Field(description="The whole run, its broken calls included.")] = ()
