# SPDX-License-Identifier: MIT
"""Scripts and examples are run as a user runs them: as processes, in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))  # the modules that the scripts share


class Python:
    """Runs files of the project in an empty folder and returns what they printed."""

    root = ROOT

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, file: str, *arguments: object, without: str = "") -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("MRV_", "ETH_"))}
        if without:
            environment["PYTHONPATH"] = str(hide(self._folder, without))
        command = [sys.executable, str(ROOT / file), *map(str, arguments)]
        return subprocess.run(command, cwd=self._folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def python(tmp_path: Path) -> Python:
    """A Python in an empty folder, in which the code of this project is installed."""
    return Python(tmp_path)


def hide(folder: Path, package: str) -> Path:
    """Make a package unfindable in processes that start with the returned folder on their path."""
    site = folder / "without"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import sys\n"
        "from importlib.machinery import PathFinder\n"
        "class Without(PathFinder):\n"
        "    @classmethod\n"
        "    def find_spec(cls, name, path=None, target=None):\n"
        f"        hidden = name.partition('.')[0] == {package!r}\n"
        "        return None if hidden else super().find_spec(name, path, target)\n"
        "sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]\n"
    )
    return site
