"""Chaos on the bus: real processes, a real server, faults by a seed, and a checker of what they wrote down.

* ``schedule``: which fault when, and what each message does to its handler; both follow from the seed alone.
* ``history``: what every process notes in a file of its own.
* ``publisher``, ``worker``: the processes.
* ``nemesis``: does to them and to the server what the schedule says.
* ``observed``, ``witness``: note what the server takes.
* ``checker``, ``effects``: pure; from the notes to what was lost, doubled, accepted too late, turned around or buried
  for nothing.
* ``run``: one run from start to verdict; ``python -m archive_testkit.chaos --minutes 10 --seed 7`` runs it.
"""
