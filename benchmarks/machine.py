# SPDX-License-Identifier: MIT
"""The machine that figures come from, and what else it was doing meanwhile."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

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


def other_load(interval_s: float = 1.0) -> str:
    """Watch the machine for a moment in which we do nothing, and return what it does all the same."""
    one, five, _ = os.getloadavg()
    text = f"load average {one:.2f} in 1 min, {five:.2f} in 5 min"
    before = _busy_s()
    if before is None:
        return text
    time.sleep(interval_s)
    busy = (_busy_s() or before) - before
    return f"others use {busy / interval_s:.2f} of {os.cpu_count()} cores; {text}"


def _busy_s() -> float | None:
    """Return the seconds that all cores together have worked since the start of the machine."""
    try:
        user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    except (OSError, ValueError):
        return None
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


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
