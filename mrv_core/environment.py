# SPDX-License-Identifier: MIT
"""What a run was made with: code, packages, hardware. No host name, user name, path or address is recorded."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from mrv_core.canonical import JsonValue

_GIT_TIMEOUT_S = 5.0


def describe_environment() -> dict[str, JsonValue]:
    """Return the environment of this process as a JSON value; what cannot be found out is null."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "hardware": describe_hardware(),
        "code": _code(),
        "packages": _packages(),
    }


def _packages() -> dict[str, JsonValue]:
    found = ((item.metadata["Name"], item.version) for item in distributions())
    return {str(name).lower().replace("_", "-"): version for name, version in found if name}


def describe_hardware() -> dict[str, Any]:
    """Return processor, memory and GPUs; what cannot be found out is null."""
    return {
        "cpu_type": _cpu_type(),
        "cpu_cores": os.cpu_count(),
        "ram_bytes": _ram_bytes(),
        "gpu_types": _gpu_types(),
    }


def _cpu_type() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or None
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, None) or platform.processor() or None


def _ram_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _gpu_types() -> list[JsonValue] | None:
    """Name the GPUs that torch sees, if the training has imported it; importing it here would cost a second."""
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _code() -> dict[str, JsonValue] | None:
    """Return the Git commit of the training code and whether anything differs from it, or None outside Git.

    The code is looked for in the working folder, then in the folder of the program that runs.
    """
    program = getattr(sys.modules.get("__main__"), "__file__", None)
    for folder in (Path.cwd(), Path(program).absolute().parent if program else Path.cwd()):
        commit = _git(folder, "rev-parse", "HEAD")
        if commit is not None:
            changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
            return {"commit": commit, "modified": None if changes is None else bool(changes)}
    return None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the user's own git, as found on PATH
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_GIT_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None
