# SPDX-License-Identifier: MIT
"""Fixtures that several packages' tests share."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent.parent))  # ours, before a library's, is the package `benchmarks`
sys.path.insert(0, str(Path(__file__).parent))  # for `import oracles`

from nodes import anvil, bitcoind, ipfs_daemon, new_anvil, new_bitcoind, new_ipfs  # noqa: F401

settings.register_profile("project", deadline=None)  # a busy machine is not a failing test
settings.load_profile("project")


@pytest.fixture(scope="session")
def vectors() -> Callable[[str], Path]:
    """Return a function from a name to a file or folder of the public vectors that `MRV_VECTORS` points to."""
    folder = os.environ.get("MRV_VECTORS")
    if not folder:
        pytest.skip("MRV_VECTORS names no folder with public test vectors")

    def locate(name: str) -> Path:
        path = Path(folder, name)
        assert path.exists(), f"MRV_VECTORS is set, but {path} is not there"
        return path

    return locate


@pytest.fixture(scope="session")
def node() -> str:
    """Return the path of Node.js; a missing one fails in continuous integration and skips elsewhere."""
    program = shutil.which("node")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("node is not installed")
        pytest.skip("node is not installed")
    return program
