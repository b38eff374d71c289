"""Usage: python -m archive_testkit.answers [--answers 50] [--words 120] [--every 1.5] [--bundled] [--out FILE]."""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from archive_testkit.answers.run import Plan, Verdict, run


def main() -> int:
    """Run once and tell the verdict; 1 when an answer broke the promise, and then the folder is kept."""
    parser = argparse.ArgumentParser(prog="answers", description=__doc__)
    parser.add_argument("--answers", type=int, default=50, help="how many answers (default 50)")
    parser.add_argument("--words", type=int, default=120, help="pieces of each, 20 ms apart (default 120)")
    parser.add_argument("--at-once", type=int, default=50, help="answers under way at once (default 50)")
    parser.add_argument("--every", type=float, default=1.5, metavar="S", help="seconds between strikes (default 1.5)")
    parser.add_argument("--bundled", action="store_true", help="also ask three workers of the bundled model")
    parser.add_argument("--out", type=Path, help="append the figures to this file, a line of JSON")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="answers-"))
    plan = Plan(
        folder=folder,
        answers=args.answers,
        words=args.words,
        at_once=args.at_once,
        every_s=args.every,
        bundled=args.bundled,
    )
    verdict = asyncio.run(run(plan))
    sys.stdout.write(tell(verdict) + "\n")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        with args.out.open("a") as file:
            file.write(json.dumps(verdict.figures) + "\n")
    if verdict.wrong or verdict.forbidden:
        sys.stdout.write(f"the system's folder: {folder}\n")
        return 1
    shutil.rmtree(folder)
    return 0


def tell(verdict: Verdict) -> str:
    """Return a verdict for people."""
    struck = Counter(name for _, name in verdict.struck)
    lines = [f"  {name:<16} {value:g}" for name, value in verdict.figures.items()]
    lines.append(f"  struck           {', '.join(f'{name} {count}' for name, count in sorted(struck.items()))}")
    reasons = Counter(each.why for each in verdict.told if each.why)
    lines.append(f"  told             {', '.join(f'{why} {count}' for why, count in reasons.most_common()) or '-'}")
    lines += [f"  WRONG answer {number}: {'; '.join(found)}" for number, found in verdict.wrong.items()]
    lines += [f"  FORBIDDEN {each}" for each in verdict.forbidden]
    return "\n".join(["answers under kill -9", *lines])


if __name__ == "__main__":
    sys.exit(main())
