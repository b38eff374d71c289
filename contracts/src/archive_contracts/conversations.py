"""Conversations that people keep: what was asked, what was answered, how they are named and how they go."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from archive_contracts.agents import Source, Step
from archive_contracts.base import Message, Problem

Mode = Literal["chat", "documents", "agent"]
TurnStatus = Literal["running", "done", "stopped", "failed"]


class RecordQuestion(Message):
    """Keep a question before it is asked, so that no crash loses it; answered by ConversationSaved."""

    type: ClassVar[str] = "conversation.record-question.v1"
    conversation_id: str
    turn_id: str
    mode: Mode
    text: str
    model: str = ""
    document_ids: tuple[str, ...] = ()
    remember: Annotated[bool, Field(description="Whether memory may keep what is said.")] = False
    supersedes: Annotated[str, Field(description="The turn that this one is asked instead of.")] = ""
    asked_at: Annotated[float, Field(description="Seconds since the epoch.")]


class RecordAnswer(Message):
    """Keep what came of a question; answered by ConversationSaved."""

    type: ClassVar[str] = "conversation.record-answer.v1"
    conversation_id: str
    turn_id: str
    status: TurnStatus
    text: str = ""
    engine: str = ""
    sources: tuple[Source, ...] = ()
    steps: tuple[Step, ...] = ()
    error: Problem | None = None
    ended_at: Annotated[float, Field(description="Seconds since the epoch.")]


class RenameConversation(Message):
    """Give a conversation another title; answered by ConversationSaved."""

    type: ClassVar[str] = "conversation.rename.v1"
    conversation_id: str
    title: str


class DeleteConversation(Message):
    """Remove a conversation with all its turns for good; answered by ConversationSaved."""

    type: ClassVar[str] = "conversation.delete.v1"
    conversation_id: str


class ConversationSaved(Message):
    """A change to a conversation is durable."""

    type: ClassVar[str] = "conversation.saved.v1"
    conversation_id: str
