# SPDX-License-Identifier: MIT
"""Becomes the program it is told to, with its output in a log file; run as a program, never imported.

    leash.py LOG PARENT_PID PROGRAM ARGUMENT...    ends with its parent
    leash.py LOG detached PROGRAM ARGUMENT...      outlives it; the process id is printed

The process id stays what it was when the program takes over.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""From <linux/prctl.h>; the setting survives exec."""


def _end_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the line above
        sys.exit(1)


def _detach() -> None:
    os.setsid()
    child = os.fork()
    if child:
        print(child, flush=True)
        os._exit(0)


def _main(log: str, owner: str, *command: str) -> None:
    if owner == "detached":
        _detach()
    else:
        _end_with(int(owner))
    os.umask(0o077)  # what nodes write, wallets among it, is nobody else's to read
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    for source, target in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    try:
        os.execv(command[0], command)  # noqa: S606 - becoming that program is what this is for
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(127)


if __name__ == "__main__":
    _main(*sys.argv[1:])
