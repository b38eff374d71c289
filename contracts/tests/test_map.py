"""The map agrees with itself, with the committed schemas, and with what messages promise."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from archive_contracts import streams
from archive_contracts.chat import ChatCompleted
from archive_contracts.schemas import asyncapi, generated
from archive_contracts.streams import SERVICES, STREAMS, TYPES, Kind, Stream, at

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("stream", STREAMS.values(), ids=str)
def test_consumers_are_services_and_types_are_known(stream: Stream) -> None:
    assert set(stream.consumers) <= set(SERVICES)
    assert all(model in stream.messages for models in stream.consumers.values() for model in models)


@pytest.mark.parametrize("stream", STREAMS.values(), ids=str)
def test_every_work_message_has_a_consumer(stream: Stream) -> None:
    if stream.kind in {Kind.WORK, Kind.LANE, Kind.INGRESS} and stream.name != "documents.events":
        assert {model for models in stream.consumers.values() for model in models} == set(stream.messages)


def test_every_stream_constant_is_in_the_map() -> None:
    constants = {value.name for value in vars(streams).values() if isinstance(value, Stream)}
    assert constants == set(STREAMS)


def test_types_carry_their_version() -> None:
    assert all(re.fullmatch(r"[a-z.-]+\.v\d+", name) for name in TYPES)


def test_a_type_belongs_to_one_model() -> None:
    models = {model for stream in STREAMS.values() for model in stream.messages}
    assert len(models) == len(TYPES)


def test_physical_key_names_stream_and_partition() -> None:
    for partition in ("small", "small:worker-1"):
        assert at(STREAMS["engine.jobs"].physical(partition)) == (STREAMS["engine.jobs"], partition)


def test_generated_files_are_committed() -> None:
    different = [path.name for path, text in generated(ROOT).items() if not path.exists() or path.read_text() != text]
    assert different == [], "run 'make schemas'"


def test_asyncapi_refers_to_what_it_defines() -> None:
    document = asyncapi()
    for operation in document["operations"].values():
        channel = document["channels"][operation["channel"]["$ref"].rpartition("/")[2]]
        names = {message["$ref"].rpartition("/")[2] for message in operation["messages"]}
        assert names <= set(channel["messages"])


@pytest.mark.parametrize("kind", [Kind.BROADCAST, Kind.REPLIES])
def test_stream_without_groups_needs_a_length(kind: Kind) -> None:
    with pytest.raises(ValueError, match="give it a max_length"):
        Stream(name="news", about="News.", messages=(), producers=("gateway",), kind=kind)


@pytest.mark.parametrize("stream", STREAMS.values(), ids=str)
def test_ordered_stream_has_its_key_in_each_message(stream: Stream) -> None:
    if stream.key:
        assert all(stream.key in model.model_fields for model in stream.messages)
    assert stream.key or not stream.ordered


def test_partition_of_a_key_is_stable() -> None:
    ordered = replace(STREAMS["chat.events"], partitions=8, key="session")
    sessions = ("default", "a", "é", "")
    turns = [ChatCompleted(engine="e", pool="p", model="m", session=session) for session in sessions]
    assert [ordered.partition_of(each) for each in turns] == ["7", "3", "6", "0"]
    assert [STREAMS["chat.events"].partition_of(each) for each in turns] == ["0"] * 4


def test_priorities_have_lanes_of_their_own() -> None:
    jobs, chats = STREAMS["engine.jobs"], STREAMS["chat.requests"]
    assert (jobs.lane("small"), jobs.lane("small", "batch")) == ("small", "small~batch")
    assert (chats.lane("0"), chats.lane("0", "batch")) == ("0", "0")
    assert at(jobs.physical(jobs.lane("small", "batch"))) == (jobs, "small~batch")


def test_every_ingress_is_like_the_default() -> None:
    stream, partition = streams.at("{ingress.acme:0}")
    assert (stream.name, stream.consumers, partition) == ("ingress.acme", streams.INGRESS.consumers, "0")
    assert streams.named("ingress.default") is streams.INGRESS
    assert streams.exists("ingress.acme")
    assert not streams.exists("elsewhere")
    with pytest.raises(KeyError):
        streams.named("elsewhere")
