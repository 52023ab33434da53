# SPDX-License-Identifier: MIT
"""A training with a tracker around it ends as the same training without: exit status, exception, output, handlers.

Each case breaks something: the hardware, CodeCarbon, the disk, the network, the clock, the process, or the training
itself. The same program is run with the tracker and without, and both must look the same from outside.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mrv_core.mrv.record import MrvRecord, Status, parse_record

TRAINING = '''
import atexit, contextlib, hashlib, os, resource, signal, sys, threading, time, types
import numpy as np
import numpy.random

WRAPPED = sys.argv[1] == "wrapped"
handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

def train(steps=40):
    """Fit a line; what comes out depends on nothing but the seed."""
    random = np.random.default_rng(7)
    x = random.normal(size=(2000, 20))
    y = x @ np.arange(20) + random.normal(size=2000)
    w = np.zeros(20)
    for _ in range(steps):
        w -= 0.1 * x.T @ (x @ w - y) / len(y)
        time.sleep(0.005)
    return hashlib.sha256(w.tobytes()).hexdigest()

def measured():
    """Wait until something was measured, where anything is."""
    if WRAPPED:
        path = samples_path(tracker.record_path)
        ends = time.monotonic() + 30
        while (not path.exists() or path.read_bytes().count(b"\\n") < 3) and time.monotonic() < ends:
            time.sleep(0.01)

def same_handlers():
    assert handlers == {number: signal.getsignal(number) for number in handlers}

class Untracked(contextlib.nullcontext):
    def start(self): pass
    def stop(self): pass
    def epoch(self, number): return contextlib.nullcontext()
    def log(self, **metrics): pass

if WRAPPED:
    from mrv_core import MRVTracker
    from mrv_core.mrv import meters, sampler, surroundings
    from mrv_core.mrv.storage import samples_path
    def new_tracker(**changes):
        given = {"storage_dir": "mrv", "blockchain_enabled": False, "interval_s": 0.05, **changes}
        return MRVTracker("training", **given)
else:
    def new_tracker(**changes): return Untracked()
'''

PLAIN = """
tracker = new_tracker()
with tracker:
    print(train())
same_handlers()
"""

OURS = {
    # CodeCarbon and the hardware.
    "CodeCarbon is broken": "sys.modules['codecarbon'] = None",
    "CodeCarbon raises": """
        import codecarbon
        def raising(*a, **k): raise RuntimeError("no sensors")
        codecarbon.EmissionsTracker = raising
    """,
    "CodeCarbon ends the program": """
        import codecarbon
        def leaving(*a, **k): raise SystemExit(9)
        codecarbon.EmissionsTracker = leaving
    """,
    "CodeCarbon hangs": """
        import codecarbon
        def hanging(*a, **k): threading.Event().wait()
        codecarbon.EmissionsTracker = hanging
    """,
    "the hardware is of an unknown kind": """
        import codecarbon
        class Odd:
            _hardware = [object()]
            def __init__(self, **k): pass
            def get_detected_hardware(self): return {}
        codecarbon.EmissionsTracker = Odd
    """,
    "no meter is found": "meters.detect = lambda scope: meters.Detected()",
    "a reading raises": "meters.CodeCarbonMeter.read = lambda self, s: 1 / 0",
    "a reading ends the thread": "def read(self, s): raise SystemExit(9)\nmeters.CodeCarbonMeter.read = read",
    "a reading hangs": "meters.CodeCarbonMeter.read = lambda self, s: threading.Event().wait()",
    "a reading is no number": "meters.CodeCarbonMeter.read = lambda self, s: None",
    "a reading is a text": "meters.CodeCarbonMeter.read = lambda self, s: 'x' * 10**6",
    "a meter does not start": "meters.CodeCarbonMeter.start = lambda self: 1 / 0",
    # The machine.
    "no thread can be started": """
        class Full(threading.Thread):
            def start(self): raise RuntimeError("can't start new thread")
        full = types.SimpleNamespace(Thread=Full, Event=threading.Event)
        sampler.threading = surroundings.threading = full
    """,
    "the memory is full": "sampler.Sample = lambda *a: (_ for _ in ()).throw(MemoryError())",
    "the clock goes back": "real = time.time; time.time = lambda: real() - 10**6",
    "git hangs": """
        os.mkdir("bin"); open("bin/git", "w").write("#!/bin/sh\\nexec sleep 600\\n"); os.chmod("bin/git", 0o755)
        os.environ["PATH"] = os.path.abspath("bin") + ":" + os.environ["PATH"]
    """,
    "the environment is unreadable": "surroundings.describe_environment = lambda: 1 / 0",
    "no file gets any longer": "resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))",
    "no file can be opened": """
        def start(old=MRVTracker.start):
            def starting(self):
                old(self)
                resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
                return self
            return starting
        MRVTracker.start = start()
        MRVTracker.__enter__ = MRVTracker.start
    """,
    # Our own defects.
    "the record cannot be built": "MRVTracker._build = lambda *a: 1 / 0",
    "the samples cannot be read": "import mrv_core.mrv.tracker as t; t.read_samples = lambda path: 1 / 0",
}

DURING = {
    # What happens to the folder meanwhile.
    "the folder is removed": "import shutil; shutil.rmtree('mrv')",
    "the folder becomes a file": "os.rename('mrv', 'away'); open('mrv', 'w').close()",
    "something else takes the record's place": "os.mkdir(tracker.record_path)",
    "the samples are truncated": "open(samples_path(tracker.record_path), 'w').close()",
    "the program goes elsewhere": "os.chdir('/')",
}

THEIRS = {
    # What the training does.
    "it raises": "raise ValueError('mine')",
    "it raises from another": "try: 1 / 0\nexcept ZeroDivisionError as e: raise KeyError('mine') from e",
    "it raises a group": "raise ExceptionGroup('mine', [ValueError('a'), OSError('b')])",
    "it raises what cannot be printed": "class E(Exception):\n    def __str__(self): raise RuntimeError\nraise E",
    "it recurses": "def f(): f()\nf()",
    "it exits with a status": "sys.exit(3)",
    "it exits with a message": "sys.exit('mine')",
    "it exits in success": "sys.exit(0)",
    "it leaves at once": "sys.stdout.flush(); os._exit(5)",
    "it aborts": "resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.abort()",
    "it is killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "it is asked to end": "os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)",
    "it is hung up on": "os.kill(os.getpid(), signal.SIGHUP); time.sleep(9)",
    "it is interrupted": "os.kill(os.getpid(), signal.SIGINT); time.sleep(9)",
    "it catches an interruption": """
        try: os.kill(os.getpid(), signal.SIGINT); time.sleep(9)
        except KeyboardInterrupt: print("caught", train())
    """,
    "it has handlers of its own": """
        signal.signal(signal.SIGTERM, lambda *a: sys.exit(7))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.kill(os.getpid(), signal.SIGINT)
        print(train())
        os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)
    """,
    "it forks": "if os.fork() == 0: sys.exit(4)\nprint(os.waitstatus_to_exitcode(os.wait()[1]))",
    "it has a pool of processes": """
        import multiprocessing
        with multiprocessing.get_context("fork").Pool(2) as pool: print(pool.map(abs, [-1, -2]))
    """,
    "it ends its standard error": "os.close(2); print(train())",
    "it sets an alarm": """
        signal.signal(signal.SIGALRM, lambda *a: (_ for _ in ()).throw(TimeoutError("mine")))
        signal.setitimer(signal.ITIMER_REAL, 0.1); time.sleep(9)
    """,
    "it leaves threads behind": "threading.Thread(target=time.sleep, args=(0.3,)).start()",
    "it is cancelled": """
        import asyncio
        async def cancelled(): asyncio.current_task().cancel(); await asyncio.sleep(9)
        asyncio.run(cancelled())
    """,
}


def run(folder: Path, program: str, how: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir()
    (folder / "train.py").write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "train.py", how]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def ending(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    """Return what a training looks like from outside: status, output, and the exception that ended it."""
    lines = done.stderr.splitlines()
    start = max((n for n, line in enumerate(lines) if line.startswith(("Traceback", "  + Exception"))), default=None)
    return done.returncode, done.stdout, "" if start is None else lines[-1]


def both(folder: Path, program: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Run a program with the tracker and without, and compare."""
    wrapped, plain = run(folder / "wrapped", program, "wrapped"), run(folder / "plain", program, "plain")
    assert ending(wrapped) == ending(plain), wrapped.stderr
    return wrapped, folder / "wrapped" / "mrv"


def record_in(folder: Path) -> MrvRecord | None:
    found = [path for path in folder.glob("MRV-*.json") if path.is_file() and path.suffixes == [".json"]]
    assert len(found) <= 1
    return parse_record(found[0].read_bytes(), what="the record") if found else None


@pytest.mark.parametrize("name", OURS)
def test_what_fails_on_our_side_does_not_reach_the_training(tmp_path: Path, name: str) -> None:
    fault = textwrap.indent(textwrap.dedent(OURS[name]).strip(), "    ")
    done, folder = both(tmp_path, f"{TRAINING}\nif WRAPPED:\n{fault}\n{PLAIN}")
    assert done.returncode == 0
    record = record_in(folder)
    if record is None:
        assert "MRV record" in done.stderr, "what went wrong is said"
        return
    assert record.status is Status.COMPLETED
    if record.energy.total_uwh is None:
        assert record.measurement.gaps[0].reason


@pytest.mark.parametrize("name", DURING)
def test_what_happens_to_the_folder_does_not_reach_the_training(tmp_path: Path, name: str) -> None:
    event = textwrap.indent(textwrap.dedent(DURING[name]).strip(), "        ")
    body = f"    measured()\n    if WRAPPED:\n{event}\n    print(train())\n"
    program = f"tracker = new_tracker()\nwith tracker:\n{body}same_handlers()"
    done, _ = both(tmp_path, f"{TRAINING}\n{program}")
    assert done.returncode == 0
    if name != "the program goes elsewhere":
        assert "MRV record" in done.stderr or record_in(tmp_path / "wrapped" / "mrv") is not None


@pytest.mark.parametrize("name", THEIRS)
def test_the_training_ends_as_it_would_without_a_tracker(tmp_path: Path, name: str) -> None:
    event = textwrap.indent(textwrap.dedent(THEIRS[name]).strip(), "    ")
    program = f"tracker = new_tracker()\nwith tracker:\n    measured()\n    same_handlers()\n{event}\n"
    done, folder = both(tmp_path, f"{TRAINING}\n{program}")
    record = record_in(folder)
    if name in ("it leaves at once", "it aborts", "it is killed", "it is asked to end", "it is hung up on"):
        assert record is None
        assert list(folder.glob("*.samples.csv")), "what was measured is kept"
    else:
        assert record is not None, done.stderr
        assert record.energy.total_uwh
        assert (record.status is Status.COMPLETED) == (done.returncode == 0)


# Networks.


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port on which somebody takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


ANCHORED = """
config = {{"blockchain": {{"networks": ["ethereum"], "ethereum": {{
    "rpc_url": "http://127.0.0.1:{port}", "timeout": 1, "retry_attempts": 1,
    "contract_address": "0x5fbdb2315678afecb367f032d93f642f64180aa3", "private_key": "11" * 32}}}}}}
tracker = new_tracker(blockchain_enabled=True, config=config)
with tracker:
    {during}
    print(train())
same_handlers()
"""


@pytest.mark.parametrize("network", ["refuses", "is silent"])
def test_a_network_that_does_not_answer_does_not_reach_the_training(
    tmp_path: Path, network: str, silent_port: int
) -> None:
    port = silent_port if network == "is silent" else 9
    done, folder = both(tmp_path, TRAINING + ANCHORED.format(port=port, during="pass"))
    assert done.returncode == 0
    assert record_in(folder) is not None
    assert (folder / "journal.sqlite3").exists(), "the anchor waits there"


@pytest.mark.parametrize(
    "during",
    [
        "WRAPPED and open('mrv/journal.sqlite3', 'wb').write(b'garbage' * 1000)",
        "WRAPPED and os.mkdir('mrv/journal.sqlite3')",
    ],
)
def test_a_broken_journal_does_not_reach_the_training(tmp_path: Path, during: str) -> None:
    done, folder = both(tmp_path, TRAINING + ANCHORED.format(port=9, during=during))
    assert done.returncode == 0
    assert record_in(folder) is not None
    assert "MRV record" in done.stderr


def test_two_trainings_at_once_measure_side_by_side(tmp_path: Path) -> None:
    ends: dict[str, tuple[int, str, str]] = {}

    def one(name: str) -> None:
        ends[name] = ending(run(tmp_path / name, TRAINING + PLAIN, "wrapped"))

    threads = [threading.Thread(target=one, args=(name,)) for name in ("first", "second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends["first"] == ends["second"]
    assert ends["first"][0] == 0
    assert all(record_in(tmp_path / name / "mrv") is not None for name in ends)
