"""doctor: looks at a deployment and says what to do."""

import argparse
import os
from typing import TYPE_CHECKING

from archive_cli.commands._options import Verbs, api_key, home_of, home_option, verb
from archive_cli.console import Console

if TYPE_CHECKING:
    from archive_cli.doctor.finding import Finding

_ABOUT = """Check servers, settings, versions, access rules, groups, lag, disk, engines and clock, and say what to do.

Looks at what runs on the data folder, or at the servers of ARCHIVE_BUS_URL, ARCHIVE_STATE_URL, ARCHIVE_BLOBS_URL and
the gateway of ARCHIVE_URL (with ARCHIVE_API_KEY); use the operator's credential. Exits with 1 when something fails."""


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verb(verbs, "doctor", run_doctor, about="Check a deployment and say what to do.", options=[home_option()])
    parser.description = _ABOUT
    parser.add_argument("--url", default="", help="address of the gateway (ARCHIVE_URL; else the one running)")
    parser.add_argument("--pools", default="", help="pools that need an engine (default: the built-in ones that run)")
    parser.add_argument("--quiet", action="store_true", help="only what is not as it should be")


def run_doctor(args: argparse.Namespace, console: Console) -> int:
    """Look, tell, and exit with 1 when something fails."""
    from archive_cli.doctor.examine import examine, site_of
    from archive_cli.doctor.finding import Level, worst

    site = site_of(home_of(args), env=os.environ, url=args.url, pools=args.pools)
    findings = examine(site, key=api_key())
    level = worst(findings)
    console.json({"level": str(level), "findings": [finding.to_json() for finding in findings]})
    for finding in findings:
        if not args.quiet or finding.level not in {Level.OK, Level.SKIPPED}:
            _show(finding, console)
    counts = {name: sum(finding.level is name for finding in findings) for name in (Level.FAILURE, Level.WARNING)}
    console.text(f"{counts[Level.FAILURE]} failures, {counts[Level.WARNING]} warnings in {len(findings)} checks.")
    return 1 if level is Level.FAILURE else 0


def _show(finding: "Finding", console: Console) -> None:
    console.text(f"{finding.level:<8} {finding.check}: {finding.what}")
    if finding.next_step:
        console.text(f"{'':<8}   next: {finding.next_step}")
