# SPDX-License-Identifier: MIT
"""Bad input: one clear line that says what, where and what to do, the right exit status, and nothing lost."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import subprocess
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from programs import Outcome, Programs, configure, programs

from mrv_core.config import Config
from mrv_core.errors import FormatError, MrvError
from mrv_core.models import Verdict
from mrv_core.registry import Registry
from mrv_core.run_folder import RunFolder
from mrv_core.tracker import ProvenanceTracker

Start = Callable[..., ProvenanceTracker]
Mrv = Callable[..., Outcome]
Arrange = Callable[[Path], object]

MEMORY: dict[str, Any] = {"alpha": {"driver": "memory"}, "beta": {"driver": "memory"}}
RUN = """
import numpy as np
from mrv_core.tracker import ProvenanceTracker
run = ProvenanceTracker(run_id="run-1")
run.track_data(np.arange(6.0).reshape(3, 2))
run.track_model({"w": np.zeros(2, "<f4")})
run.store_merkle_on_blockchain_before_training({"epochs": 2})
for number in (1, 2):
    run.track_epoch(number, {"w": np.full(2, number, "<f4")}, {"loss": 1 / number})
run.store_merkle_on_blockchain_after_training({"accuracy": 0.9})
run.close()
"""
FILES = (
    "run.json",
    "tree.json",
    "epochs/00000000.json",
    "epochs/00000001.json",
    "anchors/000-before_training.json",
    "anchors/001-after_training.json",
)


def is_possible(*command: str) -> bool:
    return shutil.which(command[0]) is not None and subprocess.run([*command, "true"], check=False).returncode == 0


@pytest.fixture(scope="module")
def server() -> Iterator[Programs]:
    """Return a server whose programs are stopped by file permissions, as those of any user but root are."""
    obedient = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ("env",)
    if not is_possible(*obedient):
        pytest.skip("root cannot give up its privileges here")
    with programs(*obedient) as server:
        yield server


@pytest.fixture(scope="module")
def mounts() -> Iterator[Programs]:
    """Return a server whose programs may mount file systems."""
    if not is_possible("unshare", "-rm"):
        pytest.skip("no user namespaces here")
    with programs("unshare", "-rm") as server:
        yield server


@pytest.fixture(scope="module")
def example(server: Programs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a configuration and a finished run of two epochs."""
    folder = tmp_path_factory.mktemp("example")
    configure(folder, **MEMORY)
    assert server.run(RUN, cwd=folder).code == 0
    np.save(folder / "train.npy", np.arange(6.0).reshape(3, 2))
    return folder


@pytest.fixture
def work(example: Path, tmp_path: Path) -> Iterator[Path]:
    """Return a copy of the example that a test may spoil."""
    folder = tmp_path / "work"
    shutil.copytree(example, folder)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink() and not path.stat().st_mode & 0o400:
            path.chmod(0o700)  # or pytest could not remove it


@pytest.fixture
def mrv(server: Programs, work: Path) -> Callable[..., Outcome]:
    """Run a command in the folder."""

    def run(*arguments: object, **options: Any) -> Outcome:
        outcome = server.mrv(*arguments, cwd=work, **options)
        assert "Traceback" not in outcome.out + outcome.err, outcome.err
        return outcome

    return run


def check_told(outcome: Outcome, code: int, *words: str) -> None:
    """Check that a command ended with this status and one line of error, which has these words, and maybe a hint."""
    assert outcome.code == code, outcome
    assert outcome.out == ""
    error, *hints = outcome.err.splitlines()
    assert error.startswith("error: "), outcome.err
    assert "defect" not in outcome.err
    assert len(hints) <= 1
    assert all(hint.startswith("hint: ") for hint in hints)
    for word in words:
        assert word in error


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder that matters after a command: locks are empty and say nothing."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


# --- content that cannot be committed to -------------------------------------------------------------------------


def a_file(folder: Path, name: str = "odd", content: bytes = b"1", mode: int = 0o600) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


def a_folder(work: Path, *links: tuple[str, str], mode: int = 0o700) -> None:
    a_file(work / "odd", "ok")
    for name, target in links:
        (work / "odd" / name).symlink_to(target)
    (work / "odd").chmod(mode)


def a_fifo(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)


CONTENT = {
    "missing": (lambda work: None, 2, "there is no file or folder odd"),
    "below a file": (lambda work: a_file(work, "odd").rename(work / "odd"), 2, "odd/x"),
    "unreadable file": (lambda work: a_file(work, mode=0), 4, "cannot read odd: Permission denied"),
    "unreadable folder": (lambda work: a_folder(work, mode=0), 4, "cannot read odd: Permission denied"),
    "unreadable file in a folder": (lambda work: a_file(work, "odd/x", mode=0), 4, "cannot read odd/x: Permission"),
    "empty file": (lambda work: a_file(work, content=b""), 2, "the training data in odd is empty"),
    "empty folder": (lambda work: (work / "odd").mkdir(), 2, "the training data in odd is empty"),
    "folder of empty files": (lambda work: a_file(work, "odd/x", b""), 2, "the training data in odd is empty"),
    "link that leaves": (lambda work: a_folder(work, ("out", "/etc/passwd")), 2, "odd/out is a symbolic link"),
    "link to itself": (lambda work: a_folder(work, ("loop", "loop")), 2, "odd/loop is a symbolic link"),
    "link to nothing": (lambda work: a_folder(work, ("away", "nowhere")), 2, "odd/away is a symbolic link"),
    "link up": (lambda work: a_folder(work, ("up", "..")), 2, "odd/up is a symbolic link"),
    "FIFO": (lambda work: a_fifo(work / "odd"), 2, "odd is a FIFO, not a file"),
    "FIFO in a folder": (lambda work: a_folder(work) or a_fifo(work / "odd/f"), 2, "odd/f is neither a file nor a"),
    "device": (lambda work: (work / "odd").symlink_to("/dev/zero"), 2, "odd is a device, not a file"),
    "name that is no text": (lambda work: a_file(work, "odd/\udcff"), 2, r"odd: the name b'\xff' is not UTF-8"),
}


@pytest.mark.parametrize("case", CONTENT)
def test_content_that_cannot_be_committed_to(work: Path, mrv: Mrv, case: str) -> None:
    arrange, code, told = CONTENT[case]
    arrange(work)
    before = contents(work / "artifacts")
    check_told(mrv("anchor", "odd/x" if case == "below a file" else "odd", "--name", "again"), code, told)
    assert contents(work / "artifacts") == before
    if case == "unreadable file":  # once it is repaired, the same command does it
        (work / "odd").chmod(0o600)
        assert mrv("anchor", "odd", "--name", "again").code == 0


CHANGES = {
    "grown": "open(target, 'ab').write(b'x')",
    "rewritten": "open(target, 'r+b').write(b'x')",
    "cut": "os.truncate(target, 10)",
    "replaced": "shutil.copy(target, 'new'); os.replace('new', target)",
    "removed": "os.unlink(target)",
}
CHANGING = """
import os, shutil, sys
target, change = sys.argv.pop(), sys.argv.pop()
reads = {name: getattr(os, name) for name in ("readv", "preadv")}

def changing(name):
    def read(*arguments):
        count = reads[name](*arguments)
        vars(os).update(reads)  # once only
        exec(change)
        return count
    return read

vars(os).update({name: changing(name) for name in reads})
from mrv_cli.main import main
main()
"""


@pytest.mark.parametrize("content", ["odd", "odd/b"], ids=["file", "folder"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_hashed(
    server: Programs, work: Path, mrv: Mrv, content: str, change: str
) -> None:
    a_file(work, content, bytes(1000))
    before = contents(work / "artifacts")
    command = ("anchor", "odd", "--name", "again")
    outcome = server.run(CHANGING, *command, CHANGES[change], content, cwd=work)
    check_told(outcome, 4, f"{content} changed while it was read")
    assert contents(work / "artifacts") == before
    a_file(work, content, bytes(1000))
    assert mrv(*command).code == 0


class Fickle:
    """A data set of somebody else that cannot be read to its end."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        return [1.0][index]


class Growing(Fickle):
    length = 2

    def __len__(self) -> int:
        self.length += 1
        return self.length

    def __getitem__(self, index: int) -> Any:
        return index


def cyclic_list() -> list[Any]:
    value: list[Any] = [1]
    value.append(value)
    return value


def cyclic_dict() -> dict[str, Any]:
    value: dict[str, Any] = {"inner": {}}
    value["inner"]["outer"] = value
    return value


def deep() -> Any:
    value: Any = 0.5
    for _ in range(200):
        value = [value]
    return value


Pair = namedtuple("Pair", "x y")

DATA = {
    "nothing": (None, "there is no training data"),
    "empty list": ([], "the training data is empty"),
    "empty mapping": ({}, "the training data is empty"),
    "empty tuple": ((), "the training data is empty"),
    "no rows": (np.zeros((0, 3)), "the training data is empty"),
    "no columns": (np.zeros((3, 0)), "the training data is empty"),
    "no labels": ((np.zeros((3, 2)), np.zeros(0)), "the training data/1 is empty"),
    "no rows in a part": ({"train": np.zeros((0, 2)), "n": 1}, "the training data/train is empty"),
    "object array": (np.array([{}], dtype=object), "training: an object array"),
    "object array in a part": (Pair(np.zeros(2), np.array([None])), "y: an object array"),
    "object column": (np.zeros(2, [("a", "<f8"), ("b", "O")]), "['b']: an object array"),
    "cyclic list": (cyclic_list(), "contains itself"),
    "cyclic mapping": (cyclic_dict(), "contains itself"),
    "cyclic mapping with arrays": ({**cyclic_dict(), "x": np.zeros(1)}, "contains itself"),
    "endless nesting": (deep(), "nested deeper"),
    "a value that is not finite": ({"rate": math.nan}, "nan at /rate"),
    "a number that JSON rounds": ({"seed": 2**60}, "/seed is beyond 2^53-1"),
    "a path as text": ("data/train.csv", "'data/train.csv' could be a path or a value"),
    "a set": ({1, 2}, "set"),
    "a function": (len, "builtin_function_or_method"),
    "a generator": ((x for x in range(3)), "generator"),
    "keys that are no text": ({1: np.zeros(1)}, "a key of type int is not text"),
    "a data set that fails": (Fickle(), "test_bad_input.Fickle cannot be read: IndexError"),
    "a data set that grows": (Growing(), "changed its length"),
}


@pytest.mark.parametrize("case", DATA)
def test_data_that_cannot_be_committed_to(tmp_path: Path, config: Config, registry: Registry, case: str) -> None:
    data, told = DATA[case]
    with ProvenanceTracker(tmp_path, config, registry=registry) as run:
        before = contents(run.run_folder)
        with pytest.raises(MrvError) as refused:
            run.track_data(data)
        assert told in refused.value.message
        assert refused.value.message.isprintable()
        assert contents(run.run_folder) == before
        run.track_data(np.zeros(3))
        run.track_model({"w": np.zeros(1)})
    assert [anchor.file.phase for anchor in run.anchors] == ["before_training", "after_training"]


# --- values that JSON cannot carry -------------------------------------------------------------------------------

VALUES = {
    "object array": np.array([None]),
    "array": np.zeros(2),
    "cyclic list": cyclic_list(),
    "cyclic mapping": cyclic_dict(),
    "endless nesting": deep(),
    "set": {1},
    "bytes": b"1",
    "function": len,
    "keys that are no text": {1: 2},
    "half a character": "\ud800",
    "a number that JSON rounds": 2**60,
}


@pytest.mark.parametrize("case", VALUES)
def test_a_value_that_json_cannot_carry_is_named_and_changes_nothing(start: Start, verify: Any, case: str) -> None:
    value = {"good": 1, "odd": VALUES[case]}
    run = start()
    for what, step in (
        ("the training configuration", run.store_merkle_on_blockchain_before_training),
        ("metrics of epoch 1", lambda given: run.track_epoch(1, metrics=given)),
        ("privacy metrics of epoch 1", lambda given: run.track_epoch(1, privacy_metrics=given)),
        ("the training results", run.store_merkle_on_blockchain_after_training),
    ):
        before = contents(run.run_folder)
        with pytest.raises(FormatError) as refused:
            step(value)
        assert refused.value.message.startswith(f"{what}: "), refused.value.message
        assert "/odd" in refused.value.message
        assert refused.value.message.isprintable()
        assert contents(run.run_folder) == before
        if not what.startswith("privacy"):
            step({"good": 1})
    run.close()
    assert verify(run.run_folder).verdict is Verdict.VALID


@pytest.mark.parametrize("value", [5, [1.0], "text", np.zeros(2)], ids=str)
def test_what_is_no_mapping_is_refused(start: Start, value: Any) -> None:
    with start() as run:
        for step in (
            run.store_merkle_on_blockchain_before_training,
            lambda given: run.track_epoch(1, metrics=given),
            run.store_merkle_on_blockchain_after_training,
            lambda given: setattr(run, "results", given),
        ):
            with pytest.raises(FormatError, match="a mapping is needed"):
                step(value)


def test_values_that_are_not_finite_are_kept_wherever_they_stand(start: Start, verify: Any) -> None:
    nan, infinity = {"non_finite": "NaN"}, {"non_finite": "Infinity"}
    run = start()
    run.store_merkle_on_blockchain_before_training({"clip": math.inf, "schedule": [0.1, math.nan]})
    run.track_epoch(1, metrics={"loss": np.float32("nan")}, privacy_metrics={"epsilon": np.float64("inf")})
    run.store_merkle_on_blockchain_after_training({"best": {"loss": math.nan}})
    run.close()
    report = verify(run.run_folder)
    assert report.verdict is Verdict.VALID
    assert report.config == {"clip": infinity, "schedule": [0.1, nan]}
    assert (report.epochs[0].metrics, report.epochs[0].privacy_metrics) == ({"loss": nan}, {"epsilon": infinity})
    assert report.results == {"best": {"loss": nan}}


# --- a configuration ---------------------------------------------------------------------------------------------

CONFIGURATIONS: dict[str, tuple[bytes, str]] = {
    "a key twice": (
        b'{"blockchain": {"networks": [], "networks": []}}',
        "at /blockchain: key 'networks' appears twice",
    ),
    "NaN": (b'{"learning_rate": NaN}', "at /learning_rate: NaN is not JSON"),
    "infinity": (b'{"learning_rate": 1e999}', "at /learning_rate: number too large"),
    "cut off": (b'{"blockchain": ', "not JSON"),
    "empty": (b"", "not JSON"),
    "another form": (b"[]", "must be a JSON object"),
    "no UTF-8": (b'{"x": "\xff"}', "not UTF-8 at byte 7"),
    "nested without end": (b"[" * 100_000, "nested deeper than 64 levels"),
    "endless": (b'"' + b"x" * 2_000_000 + b'"', "more than the 1048576 bytes"),
    "placeholder": (
        b'{"blockchain": {"ethereum": {"private_key": "your_private_key_here"}}}',
        "blockchain.ethereum.private_key still holds a placeholder",
    ),
    "misspelt network": (b'{"blockchain": {"networks": ["etherium"]}}', "unknown network 'etherium'"),
    "misspelt section": (b'{"blockchain": {"etherium": {}}}', "unknown network 'etherium'"),
    "misspelt key": (b'{"blockchain": {"ethereum": {"gas_limt": 1}}}', "unknown key 'gas_limt'"),
    "unknown algorithm": (b'{"hash_algorithm": "md5"}', "hash_algorithm: unknown hash algorithm 'md5'"),
    "algorithm of another form": (b'{"hash_algorithm": ["sha256"]}', "hash_algorithm: unknown hash algorithm"),
}


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_a_configuration_that_cannot_be_used(work: Path, mrv: Mrv, case: str) -> None:
    document, told = CONFIGURATIONS[case]
    before = contents(work / "artifacts")
    (work / "configs/blockchain_config.json").write_bytes(document)
    check_told(mrv("anchor", "train.npy"), 2, "configs/blockchain_config.json: ", told)
    if case == "misspelt network":
        for command in (("config", "check"), ("verify", "artifacts/run-1"), ("flush",), ("networks",)):
            check_told(mrv(*command), 2, "configs/blockchain_config.json: ", told)
    assert contents(work / "artifacts") == before


@pytest.mark.parametrize("kind", ["unreadable", "folder", "FIFO", "link to nothing", "in an unreadable folder"])
def test_a_configuration_file_that_cannot_be_read_is_never_passed_over(work: Path, mrv: Mrv, kind: str) -> None:
    path = work / "configs/blockchain_config.json"
    if kind == "unreadable":
        path.chmod(0)
    elif kind == "in an unreadable folder":
        path.parent.chmod(0)
    else:
        path.unlink()
        {"folder": Path.mkdir, "FIFO": os.mkfifo}.get(kind, lambda path: path.symlink_to("away"))(path)
    outcome = mrv("anchor", "train.npy")
    check_told(outcome, outcome.code, "configs/blockchain_config.json")
    assert outcome.code in (2, 4)


# --- a run folder ------------------------------------------------------------------------------------------------


def damaged(content: bytes) -> dict[str, bytes | None]:
    """Return what may have become of a file: by its name, or None for removed."""
    return {
        "removed": None,
        "empty": b"",
        "half": content[: len(content) // 2],
        "a key twice": b'{"format":"",' + content[1:],
        "NaN": b'{"a":NaN,' + content[1:],
        "something else": b"[]",
        "nested without end": b"[" * 100_000,
        "no text": bytes(range(256)),
    }


@pytest.mark.parametrize("name", FILES)
def test_a_half_written_run_is_never_valid_and_is_whole_again_once_it_is_restored(
    work: Path, mrv: Mrv, config: Config, registry: Registry, name: str
) -> None:
    run, path = work / "artifacts/run-1", work / "artifacts/run-1" / name
    content = path.read_bytes()
    for what, replacement in damaged(content).items():
        path.unlink()
        if replacement is not None:
            path.write_bytes(replacement)
        outcome = mrv("verify", "artifacts/run-1")
        assert outcome.code in ((1, 4) if what == "removed" else (1,)), (what, outcome)
        text = outcome.out + outcome.err
        assert name in text or (what == "removed" and "anchors" in text), (what, outcome)
        with contextlib.suppress(MrvError):  # and nothing else comes out
            ProvenanceTracker.open(run, config, registry=registry).close()
        path.write_bytes(content)
    path.chmod(0)
    outcome = mrv("verify", "artifacts/run-1")
    assert (outcome.code, name in outcome.out) == (4, True)
    path.chmod(0o600)
    assert mrv("verify", "artifacts/run-1").code == 0


@pytest.mark.parametrize("name", FILES)
def test_a_proof_needs_whole_files(work: Path, mrv: Mrv, name: str) -> None:
    path = work / "artifacts/run-1" / name
    content = path.read_bytes()
    path.write_bytes(content[:100])
    check_told(mrv("prove", "artifacts/run-1", "data/training"), 1, f"{name}: not JSON")
    path.write_bytes(content.replace(b'"run-1"', b'"run-2"', 1))
    check_told(mrv("prove", "artifacts/run-1", "data/training"), 1, f"{name}: the file was changed")
    path.chmod(0)
    check_told(mrv("prove", "artifacts/run-1", "data/training"), 4, f"{name}: Permission denied")


@pytest.mark.parametrize("folder", [".", "epochs", "anchors"])
@pytest.mark.parametrize("what", ["unreadable", "removed"])
def test_a_folder_that_is_not_there_says_nothing_about_what_was_in_it(
    work: Path, mrv: Mrv, folder: str, what: str
) -> None:
    path = work / "artifacts/run-1" / folder
    if what == "removed":
        path.rename(work / "away")
    else:
        path.chmod(0)
    outcome = mrv("verify", "artifacts/run-1")
    assert outcome.code == (2 if (folder, what) == (".", "removed") else 4), outcome
    assert "TAMPERED" not in outcome.out
    assert (f"run-1/{folder}" if folder != "." else "artifacts/run-1") in outcome.out + outcome.err
    if what == "removed":
        (work / "away").rename(path)
    path.chmod(0o700)
    assert mrv("verify", "artifacts/run-1").code == 0


def test_a_leaf_edited_by_hand_is_named(work: Path, mrv: Mrv) -> None:
    path = work / "artifacts/run-1/tree.json"
    digest = re.search(rb'blake3:[0-9a-f]{64}(?=[^}]*"path":"data/training")', path.read_bytes())
    assert digest is not None
    path.write_bytes(path.read_bytes().replace(digest[0], b"blake3:" + b"00" * 32))
    outcome = mrv("verify", "artifacts/run-1")
    assert (outcome.code, "TAMPERED  data/training" in outcome.out) == (1, True)
    check_told(mrv("prove", "artifacts/run-1", "data/training"), 1, "data/training: ")


@pytest.mark.parametrize("key", ["commitment", "reference", "network_id", "block_time", "submitted_at", "evidence"])
def test_a_receipt_edited_by_hand_is_named(work: Path, mrv: Mrv, key: str) -> None:
    path = work / "artifacts/run-1/anchors/001-after_training.json"
    other = json.loads((work / "artifacts/run-1/anchors/000-before_training.json").read_bytes())
    anchor = json.loads(path.read_bytes())
    value = anchor["receipts"]["alpha"][key]
    edited = {"network_id": "memory:beta"}.get(key, other["receipts"]["alpha"][key])
    if edited == value:
        edited = value.replace("20", "19", 1)
    anchor["receipts"]["alpha"][key] = edited
    path.write_text(json.dumps(anchor, separators=(",", ":"), sort_keys=True))
    outcome = mrv("verify", "artifacts/run-1")
    assert outcome.code == 1
    assert "anchors/001-after_training.json" in outcome.out


def test_anchors_are_in_order_beyond_a_thousand(work: Path) -> None:
    anchors = work / "artifacts/run-1/anchors"
    for number in range(2, 1102):
        (anchors / f"{number:03d}-epoch_checkpoint.json").touch()
    names = RunFolder(anchors.parent).anchor_names()
    assert [int(name.partition("-")[0]) for name in names] == list(range(1102))


# --- content that is compared ------------------------------------------------------------------------------------


def an_array(path: Path, **header: Any) -> None:
    """Write a file that claims to hold an array, and holds eight bytes."""
    fields = {"descr": "<f8", "fortran_order": False, "shape": (1,), **header}
    text = (repr(fields) + " " * (117 - len(repr(fields))) + "\n").encode()
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(8))


COMPARED: dict[str, tuple[Arrange, int, str]] = {
    "missing": (lambda path: None, 2, "there is no file or folder"),
    "unreadable": (lambda path: (path.write_bytes(b""), path.chmod(0)), 4, "odd.npy: Permission denied"),
    "FIFO": (os.mkfifo, 2, "odd.npy is neither a file nor a folder"),
    "folder": (Path.mkdir, 4, "odd.npy: Is a directory"),
    "empty": (Path.touch, 1, "cannot read odd.npy as a NumPy array"),
    "cut off": (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00"), 1, "cannot read odd.npy as a NumPy array"),
    "objects": (lambda path: np.save(path, np.array([None]), allow_pickle=True), 1, "cannot read odd.npy"),
    "larger than the file": (lambda path: an_array(path, shape=(2**40,)), 1, "cannot read odd.npy"),
    "other values": (lambda path: np.save(path, np.zeros((3, 2))), 1, "differs from what was committed"),
    "another form": (lambda path: np.savez(path.with_suffix(".npz"), a=1), 2, "there is no file or folder"),
}


@pytest.mark.parametrize("case", COMPARED)
def test_content_that_cannot_be_compared(work: Path, mrv: Mrv, case: str) -> None:
    arrange, code, told = COMPARED[case]
    arrange(work / "odd.npy")
    before = contents(work / "artifacts")
    outcome = mrv("verify", "artifacts/run-1", "--data", "odd.npy")
    if code == 1:
        assert (outcome.code, told in outcome.out) == (1, True), outcome
        assert "data/training" in outcome.out
    else:
        check_told(outcome, code, told)
    assert contents(work / "artifacts") == before


def test_an_archive_that_would_fill_the_memory_is_refused(
    work: Path, mrv: Mrv, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = work / "bomb.npz"
    np.savez_compressed(bomb, np.zeros(2**27 + 1))  # a gibibyte of nothing
    assert bomb.stat().st_size < 2_000_000
    check_told(mrv("verify", "artifacts/run-1", "--data", "bomb.npz"), 2, "bomb.npz expands to 10737419")


@pytest.mark.parametrize("name", ["train.npy", "train.pt", "train"])
def test_a_model_file_of_another_form_is_not_called_changed(work: Path, mrv: Mrv, name: str) -> None:
    shutil.copy(work / "train.npy", work / "train.pt")
    (work / "train").mkdir()
    a_file(work, "train/x")
    check_told(mrv("verify", "artifacts/run-1", "--model", name), 2, f"{name} cannot be compared")


def test_a_link_that_was_not_committed_is_a_difference(work: Path, mrv: Mrv) -> None:
    a_folder(work)
    assert mrv("anchor", "odd", "--name", "folder").code == 0
    (work / "odd/out").symlink_to("/etc/passwd")
    outcome = mrv("verify", "artifacts/folder", "--data", "odd")
    assert (outcome.code, "data/training/out" in outcome.out) == (1, True)


# --- the journal -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["garbage", "half", "empty", "unreadable"])
def test_a_damaged_journal_stops_what_needs_it_and_nothing_else(work: Path, mrv: Mrv, what: str) -> None:
    path = work / "artifacts/journal.sqlite3"
    content = path.read_bytes()
    path.write_bytes({"garbage": b"x" * 5000, "half": content[:9000], "empty": b""}.get(what, content))
    path.chmod(0 if what == "unreadable" else 0o600)
    assert mrv("verify", "artifacts/run-1").code == 0
    for command in (("status",), ("status", "artifacts/run-1"), ("flush",), ("anchor", "train.npy", "--name", "new")):
        check_told(mrv(*command), 4, "artifacts/journal.sqlite3")
    path.chmod(0o600)
    path.write_bytes(content)
    assert mrv("anchor", "train.npy", "--name", "new").code == 0
    assert mrv("verify", "artifacts/new").code == 0


# --- where nothing can be written --------------------------------------------------------------------------------

READ_ONLY = """
import os, subprocess, sys
subprocess.run(["mount", "--bind", "artifacts", "artifacts"], check=True)
subprocess.run(["mount", "-o", "remount,ro,bind", "artifacts"], check=True)
"""
OPEN = """
from mrv_core.errors import StorageError
from mrv_core.tracker import ProvenanceTracker
try:
    ProvenanceTracker{call}
except StorageError as error:
    print(error.message)
"""


@pytest.mark.parametrize("reason", ["Read-only file system", "Permission denied"])
def test_where_nothing_can_be_written_reading_works_and_the_rest_is_told(
    request: pytest.FixtureRequest, work: Path, reason: str
) -> None:
    if reason == "Permission denied":
        chosen: Programs = request.getfixturevalue("server")
        for path in [work / "artifacts", *(work / "artifacts").rglob("*")]:
            path.chmod(0o500 if path.is_dir() else 0o400)
    else:
        chosen = request.getfixturevalue("mounts")
        mounted = chosen.run(READ_ONLY, cwd=work)
        assert mounted.code == 0, mounted.err
    for command in ("verify artifacts/run-1", "status", "networks", "report artifacts/run-1 --html page.html"):
        outcome = chosen.mrv(*command.split(), cwd=work)
        assert outcome.code == 0, outcome
    for command in ("anchor train.npy", "report artifacts/run-1", "prove artifacts/run-1 data -o artifacts/proof.json"):
        check_told(chosen.mrv(*command.split(), cwd=work), 4, "artifacts/", reason)
    for call in (".open('artifacts/run-1')", "('artifacts')", "('artifacts/further/folder')"):
        outcome = chosen.run(OPEN.format(call=call), cwd=work)
        assert (outcome.code, outcome.err) == (0, "")
        assert outcome.out.startswith("cannot "), outcome
        assert reason in outcome.out


def test_an_artifacts_folder_that_is_a_file(work: Path, mrv: Mrv) -> None:
    a_file(work)
    check_told(mrv("anchor", "train.npy", "--base-dir", "odd"), 4, "cannot create the folder odd: File exists")


# --- a full disk -------------------------------------------------------------------------------------------------

RETRIED = """
import contextlib, os, resource, sys
import numpy as np
from mrv_core.errors import StorageError
from mrv_core.tracker import ProvenanceTracker

@contextlib.contextmanager
def nothing_can_be_written():
    if sys.argv[1] == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    else:
        with open("artifacts/filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
            while filler.write(bytes(4096)):
                pass
        yield
        os.remove("artifacts/filler")

def twice(step):
    told = "it was written"
    with nothing_can_be_written():
        try:
            step()
        except StorageError as error:
            told = f"{error.message} | {error.hint}"
    print(told)
    return step()

run = twice(lambda: ProvenanceTracker("artifacts", run_id="run-2"))
twice(lambda: run.track_data(np.arange(6.0)))
twice(lambda: run.track_model({"w": np.zeros(2)}))
twice(lambda: run.store_merkle_on_blockchain_before_training({"epochs": 2}))
twice(lambda: run.track_epoch(1, metrics={"loss": 1.0}))
twice(lambda: run.track_epoch(2, metrics={"loss": 0.5}))
twice(lambda: run.store_merkle_on_blockchain_after_training({"accuracy": 1.0}))
twice(run.save_blockchain_report)
twice(run.save)
run.close()
"""
TMPFS = """
import subprocess, sys
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=" + sys.argv[1], "none", "artifacts"], check=True)
"""


@pytest.mark.parametrize("what", ["limit", "disk"])
def test_what_could_not_be_written_is_told_and_done_when_it_is_tried_again(
    request: pytest.FixtureRequest, work: Path, what: str
) -> None:
    chosen: Programs = request.getfixturevalue("server" if what == "limit" else "mounts")
    if what == "disk":
        assert chosen.run(TMPFS, "2m", cwd=work).code == 0
    outcome = chosen.run(RETRIED, what, cwd=work)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert len(lines) == 9
    reason = "File too large" if what == "limit" else "No space left on device"
    places = rf"(cannot write artifacts/run-2/\S+: {reason}|journal artifacts/journal.sqlite3: disk I/O error)"
    for line in lines:
        assert re.fullmatch(rf"{places} \| .*(space|limit).*", line), line
    assert chosen.mrv("verify", "artifacts/run-2", cwd=work).code == 0


def test_nothing_is_sent_that_could_not_be_written_down(server: Programs, work: Path) -> None:
    """The run's own files can be written, the journal cannot; a flush does what was left."""
    shutil.rmtree(work / "artifacts")
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))\n"
    outcome = server.run(limited + RUN, cwd=work)
    assert outcome.err.splitlines()[-1].startswith("mrv_core.errors.StorageError: journal artifacts/journal.sqlite3: ")
    assert [path.name for path in (work / "artifacts/run-1/anchors").iterdir()] == ["000-before_training.json"]
    assert not (work / "artifacts/networks").exists()
    assert server.mrv("flush", cwd=work).code == 0
    assert "alpha: final" in server.mrv("status", "artifacts/run-1", cwd=work).out


COUNT = """
import json
from pathlib import Path
from mrv_core.hashing import Digest
from mrv_core.testing.memory import MemoryChain
roots = [json.loads(path.read_bytes())["root"] for path in Path("artifacts/run-1/anchors").glob("*.json")]
chains = [MemoryChain(Path("artifacts/networks", name), name) for name in ("alpha", "beta")]
print(json.dumps([[chain.count(Digest.parse(root)) for chain in chains] for root in roots]))
"""
GO_ON = """
import os
import numpy as np
from mrv_core.tracker import ProvenanceTracker
begun = os.path.exists("artifacts/run-1")
run = ProvenanceTracker.open("artifacts/run-1") if begun else ProvenanceTracker(run_id="run-1")
with run:
    slots = run.tree.state("present").slots
    if "data/training" not in slots:
        run.track_data(np.arange(6.0).reshape(3, 2))
    if "model/weights" not in slots:
        run.track_model({"w": np.zeros(2, "<f4")})
    for number in range(run.tree.epoch_count + 1, 3):
        run.track_epoch(number, {"w": np.full(2, number, "<f4")}, {"loss": 1 / number})
"""


@pytest.mark.slow
def test_whatever_the_disk_has_room_for_nothing_is_lost_or_anchored_twice(mounts: Programs, work: Path) -> None:
    """The same run on disks that have room for more and more of it; then space is made, and it goes on."""
    for pages in range(1, 100, 4):
        assert mounts.run(TMPFS, f"{4 * pages}k", cwd=work).code == 0
        first = mounts.run(RUN, cwd=work)
        if first.code:
            last = first.err.splitlines()[-1]
            assert re.match(r"mrv_core\.errors\.StorageError: .*(No space left on device|full|disk I/O error)", last), (
                last
            )
        else:
            verified = mounts.mrv("verify", "artifacts/run-1", cwd=work).code
            if verified == 0:
                break
        assert mounts.run(TMPFS.replace('"size="', '"remount,size="'), "16m", cwd=work).code == 0
        again = mounts.run(GO_ON, cwd=work)
        assert again.code == 0, (pages, again.err)
        assert mounts.mrv("flush", cwd=work).code == 0
        assert mounts.mrv("verify", "artifacts/run-1", cwd=work).code == 0, pages
        assert mounts.run(COUNT, cwd=work).json == [[1, 1], [1, 1]], pages
    assert 10 < pages < 97
