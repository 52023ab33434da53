# SPDX-License-Identifier: MIT
"""The environment of a run: what is recorded, and what is never recorded."""

from __future__ import annotations

import getpass
import platform
import socket
import subprocess
from pathlib import Path

import pytest

from mrv_core.canonical import canonical_bytes
from mrv_core.environment import describe_environment


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_of_the_code_and_whether_it_was_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "train.py").write_text("print(1)")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "code")
    monkeypatch.chdir(tmp_path)
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert describe_environment()["code"] == {"commit": commit, "modified": False}
    (tmp_path / "train.py").write_text("print(2)")
    assert describe_environment()["code"] == {"commit": commit, "modified": True}


def test_versions_are_recorded() -> None:
    environment = describe_environment()
    assert environment["python"] == platform.python_version()
    packages = environment["packages"]
    assert isinstance(packages, dict)
    assert {"blake3", "pydantic"} <= set(packages)
    hardware = environment["hardware"]
    assert isinstance(hardware, dict)
    assert set(hardware) == {"cpu_type", "cpu_cores", "ram_bytes", "gpu_types"}


def test_nothing_that_identifies_the_person_or_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "sentinel-secret-token")
    text = canonical_bytes(describe_environment()).decode()
    for private in (str(Path.home()) + "/", str(Path.cwd()), "sentinel-secret-token"):
        assert private not in text
    for name in (socket.gethostname(), getpass.getuser()):
        assert f'"{name}"' not in text
