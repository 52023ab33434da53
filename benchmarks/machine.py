# SPDX-License-Identifier: MIT
"""The machine that figures come from, and what else it was doing meanwhile."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
_PACKAGES: Final = ("mrv-provenance", "blake3", "numpy", "pymerkle", "torch")


def describe() -> dict[str, str]:
    """Return processor, memory, system and the versions that matter, as text by name."""
    return {
        "cores": f"{cores()} usable of {os.cpu_count()}",
        "processor": _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "memory": f"{_memory_kib('MemTotal') / 2**20:.1f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
    }


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory() -> int | None:
    """Return the bytes that new work can have, or None where the system does not say."""
    return _memory_kib("MemAvailable") * 1024 or None


class OtherLoad:
    """Watches from its creation on how much other programs use the machine. Their work is in every figure."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._busy, self._own = _busy_s(), _own_s()

    def cores(self) -> float | None:
        """Return how many cores others kept busy on average, or None where the system does not say."""
        busy = _busy_s()
        if busy is None or self._busy is None:
            return None
        own = _own_s() - self._own
        if own < 0:  # what a program that was killed had under it is counted by nobody
            return None
        others = busy - self._busy - own
        return max(0.0, others / (time.monotonic() - self._start))


def _busy_s() -> float | None:
    """Return the seconds that all cores together have worked since the start of the machine."""
    try:
        user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    except (OSError, ValueError):
        return None
    return (user + nice + system + irq + softirq + steal) / _TICKS_A_SECOND


def _own_s() -> float:
    """Return the seconds that this process and all under it have worked, as far as they are known."""
    ended = sum(os.times()[:4])
    return ended + sum(_ticks(child) for child in _children("self")) / _TICKS_A_SECOND


def _ticks(pid: str) -> int:
    """Return what a process, those under it and those of them that have ended have worked."""
    try:
        # After the name in parentheses come the fields from the third on; 14 to 17 count the time.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended
        return 0
    return sum(map(int, fields[11:15])) + sum(map(_ticks, _children(pid)))


def _children(pid: str) -> list[str]:
    try:
        return [child for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]
    except OSError:
        return []


def _memory_kib(name: str) -> int:
    return int(_field("/proc/meminfo", name).partition(" ")[0] or 0)


def _field(path: str, name: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
