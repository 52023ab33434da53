# SPDX-License-Identifier: MIT
"""The programs we compare with. Each Python peer gets an environment of its own, so that it cannot change ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.rows import Unavailable

FOLDER: Final = Path(".venv-bench-peers")


@dataclass(frozen=True, slots=True)
class PythonPeer:
    """A peer from PyPI.

    Attributes:
        name: Name of the distribution.
        requirements: What pip is asked for, versions pinned so that figures can be compared.
    """

    name: str
    requirements: tuple[str, ...]


# A fresh model-signing does not import without pyopenssl, which it does not declare.
MODEL_SIGNING: Final = PythonPeer("model-signing", ("model-signing==1.1.1", "pyopenssl"))
DVC: Final = PythonPeer("dvc", ("dvc==3.67.1",))
OTS: Final = PythonPeer("opentimestamps-client", ("opentimestamps-client==0.7.2",))


class Peers:
    """Finds the peers, and installs those that are missing when a row asks for them.

    Args:
        say: Told what is being installed.
        install: False uses only what is there.
        folder: Where the environments are kept between runs.
    """

    def __init__(self, say: Callable[[str], None], *, install: bool = True, folder: Path = FOLDER) -> None:
        self._say = say
        self._install = install
        self._folder = folder.absolute()
        self.versions: dict[str, str] = {}

    def b3sum(self) -> Path:
        """Return the program `b3sum`.

        Raises:
            Unavailable: it is not installed, and we cannot install it.
        """
        if shutil.which("b3sum") is None and self._install and os.geteuid() == 0 and shutil.which("apt-get"):
            self._say("installing the Debian package b3sum")
            subprocess.run(["apt-get", "install", "--yes", "--quiet", "b3sum"], capture_output=True, check=False)
        program = shutil.which("b3sum")
        if program is None:
            raise Unavailable("peer not installed: apt-get install b3sum (or cargo install b3sum)")
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        self.versions["b3sum"] = version.removeprefix("b3sum").strip()
        return Path(program)

    def programs(self, peer: PythonPeer) -> Path:
        """Return the folder with the peer's `python` and commands.

        Raises:
            Unavailable: it is not installed, and we must not or could not install it.
        """
        home = self._folder / peer.name
        done = home / "installed.txt"
        wanted = "\n".join(peer.requirements)
        if not done.exists() or done.read_text() != wanted:
            self._make(peer, home)
            done.write_text(wanted)
        self.versions[peer.name] = _version(home / "bin" / "python", peer.name)
        return home / "bin"

    def _make(self, peer: PythonPeer, home: Path) -> None:
        wanted = " ".join(peer.requirements)
        if not self._install:
            raise Unavailable(f"peer not installed: pip install {wanted}")
        self._say(f"installing {wanted} into {home}")
        home.parent.mkdir(exist_ok=True)
        (home.parent / ".gitignore").write_text("*\n")
        python = home / "bin" / "python"
        for step in (
            [sys.executable, "-m", "venv", "--clear", str(home)],
            [str(python), "-m", "pip", "install", "--quiet", *peer.requirements],
        ):
            result = subprocess.run(step, capture_output=True, text=True, check=False)
            if result.returncode:
                reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
                raise Unavailable(f"peer not installed: pip install {wanted} failed: {reason}")


def _version(python: Path, name: str) -> str:
    code = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))"
    return subprocess.run([python, "-c", code, name], capture_output=True, text=True, check=True).stdout.strip()
