"""Streamed answers while everything they pass through is killed in turn.

A client streams many answers from a whole system on one machine: two gateways, two routers, three workers with an
engine each, two servers. They are killed with -9 one after the other. Every answer has to end complete or with words;
what a client has of it has to be what the log of the answer keeps, each piece once.

`python -m archive_testkit.answers --help`
"""
