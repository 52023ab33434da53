# SPDX-License-Identifier: MIT
"""The command line in an empty folder, with the in-memory driver installed the way any plugin is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mrv_cli.main import app


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


Mrv = Callable[..., Outcome]


def network(**settings: Any) -> dict[str, Any]:
    """A section for an in-memory network."""
    return {"driver": "memory", **settings}


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enter an empty folder with a data set and a configuration of two in-memory networks."""
    plugins = tmp_path / "site"
    (plugins / "memory-1.dist-info").mkdir(parents=True)
    (plugins / "memory-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: memory\nVersion: 1\n")
    (plugins / "memory-1.dist-info" / "entry_points.txt").write_text(
        "[mrv.drivers]\nmemory = mrv_core.testing.plugin\n"
    )
    monkeypatch.syspath_prepend(plugins)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(plugins), os.environ.get("PYTHONPATH", "")]))
    work = tmp_path / "work"
    (work / "dataset").mkdir(parents=True)
    (work / "dataset" / "a.csv").write_text("1,2\n")
    (work / "dataset" / "b.csv").write_text("3,4\n")
    monkeypatch.chdir(work)
    monkeypatch.delenv("MRV_CONFIG", raising=False)
    configure(alpha=network(), beta=network(attests_time=False))
    return work


def configure(**sections: Any) -> None:
    """Write the configuration that the commands find by themselves."""
    Path("configs").mkdir(exist_ok=True)
    document = {"blockchain": {"networks": list(sections), **sections}}
    Path("configs/blockchain_config.json").write_text(json.dumps(document))


@pytest.fixture
def mrv() -> Mrv:
    """Run a command in this process and return what it left behind."""

    def run(*arguments: str | Path, expect: int | Sequence[int] = 0) -> Outcome:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="mrv")
        outcome = Outcome(result.exit_code, result.stdout, result.stderr)
        allowed = [expect] if isinstance(expect, int) else expect
        assert outcome.code in allowed, f"status {outcome.code}\n{outcome.out}\n{outcome.err}\n{result.exception!r}"
        assert "Traceback" not in outcome.out + outcome.err
        return outcome

    return run


@pytest.fixture
def run_folder(mrv: Mrv) -> Path:
    """Return a run that was made on the command line and is anchored on both networks."""
    mrv("anchor", "dataset", "--name", "snap")
    return Path("artifacts/snap")
