# SPDX-License-Identifier: MIT
"""The benchmarks run, at sizes that say nothing about speed: what they count, compare and print is right."""

import json
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import __main__ as program
from benchmarks import machine
from benchmarks.bench import KIB, MIB, Bench, Sizes, require_equal
from benchmarks.peers import DVC, MODEL_SIGNING, OTS, Peers
from benchmarks.race import race
from benchmarks.rows import Goal, Row, Unavailable, number, seconds
from benchmarks.suites import SUITES
from benchmarks.worker import Worker, extra_memory

TINY = Sizes(2 * MIB, MIB, 20, KIB, 100, 3, 10, 0.01, 0.5, 2, 20, many=2, few=1)


@pytest.fixture
def peers(tmp_path):
    """No peer is installed by a test."""
    return Peers(lambda text: pytest.fail(text), install=False, folder=tmp_path / "peers")


@pytest.fixture
def run(tmp_path, peers):
    """Run one suite at tiny sizes and return its rows by title."""

    def run_suite(name):
        rows = program.run_suite(SUITES[name], TINY, tmp_path, peers, 1, Console(quiet=True))
        return {row.what: row for row in rows}

    return run_suite


def check(rows):
    """Every row has positive values or says why it has none."""
    assert rows
    for row in rows.values():
        assert row.problem or row.values, row
        assert all(value >= 0 for value in row.values), row


def measured(rows, words):
    (row,) = [row for title, row in rows.items() if words in title]
    return row


def test_large_file(run, tmp_path):
    rows = run("hashing-file")
    check(rows)
    assert len(measured(rows, "hashlib.sha256").values) == TINY.few
    assert "pip install model-signing" in measured(rows, "model-signing").problem
    assert not list(tmp_path.glob("mrv-bench-*"))


def test_arrays_and_tensors(run):
    pytest.importorskip("torch")
    rows = run("hashing-array")
    check(rows)
    for content in ("array of", "tensor of", "sliced", "transposed"):
        assert not measured({title: row for title, row in rows.items() if "against" in title}, content).problem


def test_folder(run):
    rows = run("hashing-folder")
    check(rows)
    assert "pip install dvc" in measured(rows, "dvc").problem


def test_log_tree(run):
    rows = run("merkle")
    check(rows)
    assert measured(rows, "frontier without proofs").met


@pytest.mark.slow
def test_tracking(run):
    pytest.importorskip("torch")
    (row,) = run("tracking").values()
    assert 0 < row.values[0] < 100


def test_measuring(run):
    rows = run("measuring")
    check(rows)
    assert len(measured(rows, "MRVTracker.start()").values) == TINY.few
    assert not any(row.problem for row in rows.values())


def test_registry_load(run):
    rows = run("registry-load")
    check(rows)
    assert not any(row.problem for row in rows.values())
    for name in ("SQLite", "PostgreSQL"):
        assert measured(rows, f"{name}: worker killed").values == (0.0,)
    assert measured(rows, "in one batch").values[0] > 0


def test_command_line(run):
    rows = run("command-line")
    check(rows)
    assert len(measured(rows, "mrv verify").values) == TINY.many


def test_two_candidates_run_in_turn_after_a_warm_up():
    order = []

    def candidate(name, times):
        def measure():
            order.append(name)
            return times.pop(0)

        return measure

    result = race(candidate("a", [99.0, 1.0, 2.0]), candidate("b", [99.0, 3.0, 8.0]), rounds=2)
    assert order == ["a", "b"] * 3
    assert result.ratios() == (3.0, 4.0)


@pytest.mark.parametrize(
    ("sign", "below", "at", "above"),
    [("≥", False, True, True), (">", False, False, True), ("<", True, False, False), ("≤", True, True, False)],
)
def test_goals(sign, below, at, above):
    goal = Goal(sign, 2)
    assert [goal.met_by(value) for value in (1.99, 2, 2.01)] == [below, at, above]


def test_the_median_decides():
    row = Row("work", "x", (0.1, 3.0, 2.5), Goal("≥", 2))
    assert row.met
    assert row.measured() == "2.5 x (0.1 to 3)"


def test_a_row_without_a_value_is_neither_met_nor_missed():
    assert Row("work", "x", goal=Goal("≥", 2), problem="peer not installed").met is None


@pytest.mark.parametrize(("value", "text"), [(1.5, "1.5 s"), (0.0421, "42.1 ms"), (4.6e-6, "4.6 µs"), (250, "250 s")])
def test_durations(value, text):
    assert seconds(value) == text


def test_numbers():
    assert [number(value) for value in (1234.5, 12.345, 0.012345)] == ["1234", "12.3", "0.0123"]


def test_a_missing_peer_is_said_and_the_rest_goes_on(tmp_path, peers):
    @contextmanager
    def absent():
        raise Unavailable("peer not installed: pip install it")
        yield

    bench = Bench(TINY, tmp_path, peers, 1)
    row = bench.compare("work", lambda: 1.0, absent(), Goal("≥", 1), rounds=1)
    assert row.problem == "peer not installed: pip install it"
    assert bench.compare("work", lambda: 1.0, nullcontext(lambda: 2.0), Goal("≥", 1), rounds=1).values == (2.0,)


@pytest.mark.parametrize("peer", [MODEL_SIGNING, DVC, OTS])
def test_python_peers_are_named_with_their_package(peers, peer):
    with pytest.raises(Unavailable, match=f"pip install {peer.requirements[0]}"):
        peers.programs(peer)


def test_b3sum_is_named_with_its_package(peers, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="apt-get install b3sum"):
        peers.b3sum()


def test_candidates_must_compute_the_same():
    with pytest.raises(RuntimeError, match="root"):
        require_equal("root", "aa", "bb")


def test_data_depends_on_the_seed_alone(tmp_path, peers):
    def data(seed, folder):
        (tmp_path / folder).mkdir()
        return Bench(TINY, tmp_path, peers, seed).write_file(tmp_path / folder / "x.bin", 70 * KIB).read_bytes()

    assert data(1, "a") == data(1, "b") != data(2, "c")


def burner(tmp_path):
    """Write a worker that fills memory and uses a core, and return its name."""
    script = tmp_path / "burner.py"
    script.write_text(
        "import sys, time\n"
        f"sys.path.insert(0, {str(Path(program.__file__).parent / 'workers')!r})\n"
        "from protocol import serve\n"
        "def burn(seconds):\n"
        "    end = time.process_time() + seconds\n"
        "    while time.process_time() < end: pass\n"
        "def fill(size):\n"
        "    block = bytearray(b'x') * size\n"
        "    burn(0.1)\n"
        "    return len(block)\n"
        "serve({'burn': burn, 'fill': fill})\n"
    )
    return str(script.with_suffix(""))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say")
def test_extra_memory_is_what_the_process_filled(tmp_path):
    with Worker(burner(tmp_path)) as worker:
        worker.call("fill", 1)
        with extra_memory(worker.pid) as extra:
            worker.call("fill", 32 * MIB)
    assert 32 * MIB <= extra[0] < 40 * MIB


def test_a_worker_that_dies_is_an_error(tmp_path, capfd):
    with pytest.raises(RuntimeError, match="'no such action'"), Worker("files") as worker:
        worker.call("no such action")
    assert "KeyError" in capfd.readouterr().err


def test_program_prints_tables_and_writes_json(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(program, "QUICK", TINY)
    target = tmp_path / "figures.json"
    arguments = ["merkle", "--quick", "--seed", "7", "--no-install", "--folder", str(tmp_path), "--json", str(target)]
    assert program.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "load average:" in printed
    assert "not judged: small sizes" in printed
    document = json.loads(target.read_text())
    assert document["seed"] == "7"
    assert document["sizes"] == "quick"
    assert list(document["suites"]) == ["merkle"]
    assert all(row["values"] or row["problem"] for row in document["suites"]["merkle"])


def test_our_own_work_is_not_counted_as_that_of_others(monkeypatch):
    figures = {"busy": 10.0, "own": 1.0, "now": 100.0}
    monkeypatch.setattr(machine, "_busy_s", lambda: figures["busy"])
    monkeypatch.setattr(machine, "_own_s", lambda: figures["own"])
    monkeypatch.setattr(machine.time, "monotonic", lambda: figures["now"])
    load = machine.OtherLoad()
    figures.update(busy=13.0, own=3.0, now=102.0)
    assert load.cores() == 0.5


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="the system does not say")
def test_the_work_of_a_running_worker_is_our_own(tmp_path):
    with Worker(burner(tmp_path)) as worker:
        before = machine._own_s()
        worker.call("burn", 0.2)
        assert machine._own_s() - before >= 0.15


def test_an_unknown_suite_is_refused_with_the_names_there_are(capsys):
    with pytest.raises(SystemExit) as stop:
        program.main(["merkel"])
    assert stop.value.code == 2
    assert "hashing-file" in capsys.readouterr().err


def test_too_little_room_is_said_instead_of_filling_the_disk(tmp_path, peers, monkeypatch):
    monkeypatch.setattr(program.machine, "available_memory", lambda: MIB)
    (row,) = program.run_suite(SUITES["hashing-file"], TINY, tmp_path, peers, 1, Console(quiet=True))
    assert row.problem.startswith("not run: needs")
