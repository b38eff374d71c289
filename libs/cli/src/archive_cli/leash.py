"""Run a command that must not outlive the process that started it.

    python -I -S leash.py PARENT_PID COMMAND [ARGUMENT ...]

The command takes this process over, so its pid is the one the supervisor knows. A supervisor killed with -9 can clean
nothing up: on Linux the kernel kills the command for it; elsewhere a small process beside the command watches.
"""

import ctypes
import os
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1
_WATCH_S = 0.5


def _watch(parent: int, command: int) -> None:
    """Kill the command when its starter is gone; end with the command."""
    while os.getppid() == command:
        try:
            os.kill(parent, 0)
        except OSError:
            os.kill(command, signal.SIGKILL)
            return
        time.sleep(_WATCH_S)


def main() -> None:
    """Tie this process to its parent and become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        # The parent may have died before the line above took effect.
        if os.getppid() != parent:
            sys.exit(1)
    else:
        own = os.getpid()
        if os.fork() == 0:
            _watch(parent, own)
            os._exit(0)
    try:
        os.execvp(command[0], command)  # noqa: S606 - to become the command is the point
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be run: {error.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    main()
