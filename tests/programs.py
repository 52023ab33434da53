# SPDX-License-Identifier: MIT
"""Programs and commands in processes of their own, without the half second that starting an interpreter takes.

Run as a program this is a server: it imports what a command needs, and forks for every program it is asked to run.
The program then is that process's main program: its traceback, exit status and threads are those of any other.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MRV = "from mrv_cli.main import main; main()"


@dataclass(frozen=True)
class Outcome:
    """What a process left behind; a negative code is the signal that ended it."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


class Programs:
    """Starts programs; each one runs in a process of its own."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self._server = server

    def start(
        self,
        source: str,
        *arguments: object,
        cwd: Path | None = None,
        umask: int | None = None,
        environment: dict[str, str] | None = None,
    ) -> int:
        """Start a Python program and return its process id."""
        job = {
            "source": source,
            "arguments": [str(argument) for argument in arguments],
            "cwd": None if cwd is None else str(cwd),
            "umask": umask,
            "environment": environment or {},
        }
        pid: int = self._ask(job)
        return pid

    def wait(self, pid: int) -> Outcome:
        """Wait for a program to end."""
        return Outcome(*self._ask({"wait": pid}))

    def run(self, source: str, *arguments: object, **options: Any) -> Outcome:
        """Run a Python program to its end; options as of `start`."""
        return self.wait(self.start(source, *arguments, **options))

    def mrv(self, *arguments: object, **options: Any) -> Outcome:
        """Run a command of the command line; options as of `start`."""
        return self.run(MRV, *arguments, **options)

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(question) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())


def configure(work: Path, storage_options: dict[str, bool] | None = None, debug: bool = False, **sections: Any) -> None:
    """Write the configuration that trackers and commands in a folder find by themselves."""
    options = {"storage_options": storage_options or {}, "debug": debug}
    (work / "configs").mkdir(exist_ok=True)
    document = {"blockchain": {"networks": list(sections), **options, **sections}}
    (work / "configs" / "blockchain_config.json").write_text(json.dumps(document))


@contextmanager
def programs(*prefix: str, preload: Sequence[str] = ()) -> Iterator[Programs]:
    """Start a server, with the in-memory driver installed the way any plugin is.

    Args:
        prefix: Command that the server is started by, for instance `unshare`.
        preload: Modules that its programs need and that take long to import.
    """
    with tempfile.TemporaryDirectory() as site:
        info = Path(site, "memory-1.dist-info")
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: memory\nVersion: 1\n")
        (info / "entry_points.txt").write_text("[mrv.drivers]\nmemory = mrv_core.testing.plugin\n")
        environment = {key: value for key, value in os.environ.items() if key != "MRV_CONFIG"}
        # One thread, because a process with several must not fork.
        environment.update(PYTHONPATH=site, OPENBLAS_NUM_THREADS="1")
        command = [*prefix, sys.executable, __file__, *preload]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        ) as server:
            yield Programs(server)


_USUAL = (
    "email.feedparser mrv_cli.config mrv_cli.exit_codes mrv_cli.journal mrv_cli.main mrv_cli.networks mrv_cli.prove "
    "mrv_cli.runs mrv_cli.verify mrv_core.digests.arrays mrv_core.digests.folders mrv_core.proofs mrv_core.report.html "
    "mrv_core.report.terminal mrv_core.testing.memory mrv_core.testing.plugin mrv_core.tracker mrv_core.verification "
    "numpy.ma pydantic.type_adapter"
).split()


def _serve() -> str:
    """Answer questions until one is a program, and return that in the new process."""
    outputs: dict[int, tuple[Any, Any]] = {}
    for line in sys.stdin:
        question = json.loads(line)
        if "wait" in question:
            code = os.waitstatus_to_exitcode(os.waitpid(question["wait"], 0)[1])
            answer: Any = [code, *map(_text, outputs.pop(question["wait"]))]
        else:
            streams = tempfile.TemporaryFile(), tempfile.TemporaryFile()
            answer = os.fork()
            if not answer:
                _enter(question, *(stream.fileno() for stream in streams))
                return str(question["source"])
            outputs[answer] = streams
        print(json.dumps(answer), flush=True)
    sys.exit()


def _text(stream: Any) -> str:
    stream.seek(0)
    return str(stream.read().decode(errors="surrogateescape"))


def _enter(job: dict[str, Any], out: int, err: int) -> None:
    for source, target in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
        os.dup2(source, target)
    os.environ.update(job["environment"])
    os.chdir(job["cwd"] or ".")
    if job["umask"] is not None:
        os.umask(job["umask"])
    sys.argv = ["mrv", *job["arguments"]]


if __name__ == "__main__":
    from importlib import import_module

    limit = sys.getrecursionlimit()
    for module in [*_USUAL, *sys.argv[1:]]:
        import_module(module)
    sys.setrecursionlimit(limit)  # py_ecc raises it
    gc.freeze()  # what is imported is nothing to collect when a program ends
    exec(compile(_serve(), "<program>", "exec"), {"__name__": "__main__"})  # noqa: S102
