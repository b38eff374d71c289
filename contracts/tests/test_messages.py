"""What every message promises."""

import json
from datetime import UTC, datetime

import pytest

from archive_contracts.agents import ModelUse, RunModelReplied
from archive_contracts.base import Message
from archive_contracts.chat import ChatRequested
from archive_contracts.documents import chunk_id, document_id
from archive_contracts.envelope import stamp
from archive_contracts.jobs import JobProgressed
from archive_contracts.streams import DOCUMENT_COMMANDS, TYPES, dead_letters


def test_absent_fields_stay_off_the_wire() -> None:
    assert json.loads(JobProgressed(job_id="j", phase="done").to_json()) == {"job_id": "j", "phase": "done"}


def test_body_passes_through_unchanged() -> None:
    body = '{"model": "m",  "unknown": [1.0, {"\\u00e9": null}]}'
    sent = ChatRequested(body=body, model="m")
    assert ChatRequested.model_validate_json(sent.to_json()).body == body


def test_half_a_character_stops_no_message() -> None:
    used = ModelUse(model="m\ud800", requests=2)
    sent = RunModelReplied(run_id="r", step=1, text="\udc00 é", used=used)
    read = RunModelReplied.model_validate_json(sent.to_json())
    assert (read.text, read.used) == ("? é", ModelUse(model="m?", requests=2))
    assert b"engine" in sent.to_json()


@pytest.mark.parametrize("model", TYPES.values(), ids=str)
def test_messages_are_frozen_and_ignore_unknown_fields(model: type[Message]) -> None:
    assert model.model_config.get("frozen")
    assert model.model_config.get("extra") == "ignore"


def test_same_content_is_the_same_document() -> None:
    one = document_id("a", "0" * 64)
    assert one == document_id("a", "0" * 64)
    assert len({one, document_id("b", "0" * 64), document_id("a", "1" * 64)}) == 3


def test_recipe_is_part_of_chunk_ids() -> None:
    assert len({chunk_id(document, recipe, index) for document in "de" for recipe in "rs" for index in (0, 1)}) == 8


def test_dead_letters_share_the_hash_tag() -> None:
    assert dead_letters(DOCUMENT_COMMANDS.physical(), "memory") == "{documents.commands:0}:memory:dead"


def test_stamp_is_utc_with_milliseconds() -> None:
    assert stamp(datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)) == "2026-01-02T03:04:05.678Z"
