# SPDX-License-Identifier: MIT
"""The IPFS driver: what it stores, what it refuses, and which of four answers a check gives."""

from __future__ import annotations

import multiprocessing
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mrv_backends_ipfs.cid import Cid
from mrv_backends_ipfs.driver import IpfsDriver
from mrv_backends_ipfs.settings import IpfsSettings
from mrv_core.canonical import parse_json
from mrv_core.driver import DriverContext
from mrv_core.errors import (
    AnchorNotFoundError,
    BackendUnavailableError,
    FormatError,
    StorageError,
    SubmissionRejectedError,
    VerificationError,
)
from mrv_core.hashing import Digest, HashFactory
from mrv_core.models import Receipt, ReceiptState
from mrv_core.registry import Registry

ROOT = HashFactory.digest(b"a root", "sha256")
OTHER = HashFactory.digest(b"another root", "sha256")
METADATA = {"run_id": "run-1", "phase": "before_training"}


@pytest.fixture
def receipt(driver: IpfsDriver) -> Receipt:
    return driver.submit(driver.prepare(ROOT, METADATA))


def block_path(store_dir: Path, receipt: Receipt) -> Path:
    return store_dir / "blocks" / receipt.reference


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }


def test_the_block_is_canonical_json_that_anyone_can_rehash(
    driver: IpfsDriver, receipt: Receipt, store_dir: Path
) -> None:
    block = block_path(store_dir, receipt).read_bytes()
    assert block == (
        b'{"commitment":"' + str(ROOT).encode() + b'","format":"mrv-statement/1",'
        b'"metadata":{"phase":"before_training","run_id":"run-1"}}'
    )
    assert str(Cid.of(block)) == receipt.reference


def test_prepare_stores_nothing_and_is_repeatable(driver: IpfsDriver, store_dir: Path) -> None:
    prepared = driver.prepare(ROOT, METADATA)
    assert driver.prepare(ROOT, dict(reversed(METADATA.items()))) == prepared
    assert not store_dir.exists()


def test_an_anchor_verifies_and_says_what_it_does_not_show(driver: IpfsDriver, receipt: Receipt) -> None:
    verified = driver.verify(receipt, ROOT)
    assert verified.state is ReceiptState.FINAL
    assert verified.block_time is None
    assert verified.reference == receipt.reference
    assert verified.facts["metadata"] == METADATA
    assert any("when" in sentence for sentence in verified.trusts)
    assert receipt.embedded
    assert not driver.capabilities.attests_time


def test_submitting_twice_gives_one_block_and_one_receipt(
    driver: IpfsDriver, receipt: Receipt, store_dir: Path
) -> None:
    before = snapshot(store_dir)
    assert driver.submit(driver.prepare(ROOT, METADATA)) == receipt
    assert snapshot(store_dir) == before


def test_receipts_survive_being_stored(driver: IpfsDriver, receipt: Receipt) -> None:
    again = Receipt.from_bytes(receipt.to_bytes(), what="receipt")
    assert again == receipt
    driver.verify(again, ROOT)


def test_lookup_and_upgrade_find_the_same_receipt(driver: IpfsDriver, receipt: Receipt) -> None:
    assert driver.lookup(receipt.reference) == receipt
    assert driver.lookup("B" + receipt.reference[1:].upper()) == receipt
    assert driver.upgrade(receipt) == receipt


def test_find_needs_the_commitment_and_its_metadata_only(
    make_driver: Callable[..., IpfsDriver], driver: IpfsDriver, receipt: Receipt, tmp_path: Path
) -> None:
    assert driver.capabilities.searches
    assert driver.find(ROOT, dict(reversed(METADATA.items()))) == receipt
    assert driver.find(ROOT, {**METADATA, "phase": "after_training"}) is None
    assert driver.find(OTHER, METADATA) is None
    assert make_driver(tmp_path / "nowhere").find(ROOT, METADATA) is None
    assert not (tmp_path / "nowhere").exists()


def test_find_leaves_a_damaged_block_to_be_stored_again(driver: IpfsDriver, receipt: Receipt, store_dir: Path) -> None:
    block_path(store_dir, receipt).write_bytes(b"half a bl")
    assert driver.find(ROOT, METADATA) is None
    driver.submit(driver.prepare(ROOT, METADATA))
    assert driver.find(ROOT, METADATA) is not None


def test_reading_methods_change_nothing(driver: IpfsDriver, receipt: Receipt, store_dir: Path) -> None:
    before = snapshot(store_dir.parent)
    driver.lookup(receipt.reference)
    driver.upgrade(receipt)
    driver.verify(receipt, ROOT)
    assert driver.status().ready
    assert snapshot(store_dir.parent) == before


def test_a_missing_store_is_could_not_check_and_stays_missing(
    make_driver: Callable[..., IpfsDriver], receipt: Receipt, tmp_path: Path
) -> None:
    elsewhere = make_driver(tmp_path / "nowhere")
    for call in (
        lambda: elsewhere.verify(receipt, ROOT),
        lambda: elsewhere.lookup(receipt.reference),
        lambda: elsewhere.upgrade(receipt),
    ):
        with pytest.raises(BackendUnavailableError, match="not there"):
            call()
    assert elsewhere.status().ready
    assert not (tmp_path / "nowhere").exists()


def test_a_block_that_is_gone_is_not_found(driver: IpfsDriver, receipt: Receipt, store_dir: Path) -> None:
    block_path(store_dir, receipt).unlink()
    for call in (
        lambda: driver.verify(receipt, ROOT),
        lambda: driver.lookup(receipt.reference),
        lambda: driver.upgrade(receipt),
    ):
        with pytest.raises(AnchorNotFoundError, match=receipt.reference):
            call()


def test_every_flipped_byte_of_a_block_is_noticed(driver: IpfsDriver, receipt: Receipt, store_dir: Path) -> None:
    path = block_path(store_dir, receipt)
    block = path.read_bytes()
    for position in range(len(block)):
        path.write_bytes(block[:position] + bytes([block[position] ^ 1]) + block[position + 1 :])
        with pytest.raises(VerificationError, match=receipt.reference):
            driver.verify(receipt, ROOT)
    for damaged in (b"", block[:-1], block + b"\n", b"<html>502 Bad Gateway</html>", b"x" * 2_000_000):
        path.write_bytes(damaged)
        with pytest.raises(VerificationError, match=receipt.reference):
            driver.verify(receipt, ROOT)
        with pytest.raises(VerificationError, match=receipt.reference):
            driver.lookup(receipt.reference)


def test_another_valid_block_in_its_place_is_noticed(driver: IpfsDriver, receipt: Receipt, store_dir: Path) -> None:
    other = driver.submit(driver.prepare(OTHER, METADATA))
    block_path(store_dir, receipt).write_bytes(block_path(store_dir, other).read_bytes())
    with pytest.raises(VerificationError, match=other.reference):
        driver.verify(receipt, ROOT)


def test_submitting_again_repairs_a_damaged_block(driver: IpfsDriver, receipt: Receipt, store_dir: Path) -> None:
    block_path(store_dir, receipt).write_bytes(b"half a bl")
    (store_dir / "cars" / f"{receipt.reference}.car").write_bytes(b"")
    driver.verify(driver.submit(driver.prepare(ROOT, METADATA)), ROOT)
    assert (store_dir / "cars" / f"{receipt.reference}.car").stat().st_size > 200


def test_every_changed_claim_of_a_receipt_is_refused(driver: IpfsDriver, receipt: Receipt) -> None:
    other = driver.submit(driver.prepare(OTHER, METADATA))
    changes: list[dict[str, object]] = [
        {"network": "ipfs2"},
        {"driver": "log"},
        {"network_id": "ipfs-private"},
        {"embedded": False},
        {"state": ReceiptState.PENDING},
        {"commitment": OTHER},
        {"reference": other.reference},
        {"reference": str(Cid(0x70, Cid.parse(receipt.reference).digest))},
        {"reference": "bafkqadtdn5xhiylomu"},
        {"reference": ""},
        {"block_time": datetime(2024, 1, 1, tzinfo=UTC)},
        {"evidence": {}},
        {"evidence": other.evidence},
        {"evidence": receipt.evidence | {"more": 1}},
        {"evidence": receipt.evidence | {"format": "mrv-ipfs-evidence/2"}},
        {"evidence": receipt.evidence | {"block": receipt.evidence["block"] + " "}},
        {"evidence": receipt.evidence | {"block": "\ud800"}},
        {"evidence": receipt.evidence | {"block": "x" * 2_000_000}},
        {"evidence": receipt.evidence | {"block": None}},
    ]
    for change in changes:
        with pytest.raises(VerificationError):
            driver.verify(receipt.model_copy(update=change), ROOT)
    with pytest.raises(VerificationError):
        driver.verify(receipt, OTHER)
    with pytest.raises(VerificationError):
        driver.verify(receipt, Digest("blake3", ROOT.value))
    with pytest.raises(VerificationError):
        driver.upgrade(receipt.model_copy(update={"commitment": OTHER}))


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_flipped_bytes_of_a_stored_receipt_never_make_another_one(driver: IpfsDriver, data: st.DataObject) -> None:
    receipt = driver.submit(driver.prepare(ROOT, METADATA))
    text = bytearray(receipt.to_bytes())
    text[data.draw(st.integers(0, len(text) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        changed = Receipt.from_bytes(bytes(text), what="receipt")
        verified = driver.verify(changed, ROOT)
    except (FormatError, VerificationError):
        return
    # Two things may differ without being wrong: our own clock, which is a claim, and how far the anchor had come.
    assert changed.model_copy(update={"submitted_at": receipt.submitted_at, "state": receipt.state}) == receipt
    assert verified.commitment == ROOT


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(metadata=st.dictionaries(st.text(), json_values, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_metadata_anchors_and_verifies_or_is_refused_before(
    driver: IpfsDriver, metadata: dict[str, object]
) -> None:
    try:
        prepared = driver.prepare(ROOT, metadata)  # type: ignore[arg-type]
    except FormatError:
        return
    verified = driver.verify(driver.submit(prepared), ROOT)
    assert verified.facts["metadata"] == parse_json(bytes.fromhex(prepared.payload_hex), what="block")["metadata"]


def test_metadata_that_does_not_fit_is_refused_before_anything_is_stored(driver: IpfsDriver, store_dir: Path) -> None:
    for metadata in ({"note": "x" * 1024 * 1024}, {"loss": float("nan")}, {"n": 2**60}, {"s": "\ud800"}):
        with pytest.raises(FormatError):
            driver.prepare(ROOT, metadata)
    assert not store_dir.exists()


def test_prepared_bytes_that_are_not_what_they_say_are_rejected(driver: IpfsDriver, store_dir: Path) -> None:
    prepared = driver.prepare(ROOT, METADATA)
    other = driver.prepare(OTHER, METADATA)
    for update in (
        {"payload_hex": other.payload_hex},
        {"payload_hex": "zz"},
        {"payload_hex": b"{}".hex()},
        {"payload_hex": ""},
        {"reference": other.reference},
        {"commitment": OTHER},
    ):
        with pytest.raises(SubmissionRejectedError):
            driver.submit(prepared.model_copy(update=update))
    assert not store_dir.exists()


@pytest.mark.parametrize("reference", ["", "nonsense", "0x" + "00" * 32, "bafkqadtdn5xhiylomu", "../../etc/passwd"])
def test_lookup_of_something_that_is_no_cid_says_so(driver: IpfsDriver, receipt: Receipt, reference: str) -> None:
    with pytest.raises(FormatError):
        driver.lookup(reference)


def test_lookup_of_a_block_that_is_no_statement_finds_no_anchor(
    driver: IpfsDriver, receipt: Receipt, store_dir: Path
) -> None:
    foreign = b'{"format":"mrv-statement/1"}'
    (store_dir / "blocks" / str(Cid.of(foreign))).write_bytes(foreign)
    with pytest.raises(AnchorNotFoundError, match="not an anchor"):
        driver.lookup(str(Cid.of(foreign)))


def test_the_store_may_lie_elsewhere(make_driver: Callable[..., IpfsDriver], tmp_path: Path, store_dir: Path) -> None:
    driver = make_driver(path=str(tmp_path / "shared blocks"))
    driver.verify(driver.submit(driver.prepare(ROOT, METADATA)), ROOT)
    assert (tmp_path / "shared blocks" / "blocks").is_dir()
    assert not store_dir.exists()


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_files_are_private_whatever_the_umask(driver: IpfsDriver, tmp_path: Path, store_dir: Path, umask: int) -> None:
    previous = os.umask(umask)
    try:
        driver.submit(driver.prepare(ROOT, METADATA))
    finally:
        os.umask(previous)
    for path in [store_dir, *store_dir.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_planted_links_are_never_written_through(driver: IpfsDriver, tmp_path: Path, store_dir: Path) -> None:
    prepared = driver.prepare(ROOT, METADATA)
    victim = tmp_path / "victim"
    victim.mkdir()
    store_dir.mkdir(parents=True)
    (store_dir / "blocks").symlink_to(victim)
    with pytest.raises(StorageError, match="blocks"):
        driver.submit(prepared)
    assert list(victim.iterdir()) == []
    (store_dir / "blocks").unlink()
    (store_dir / "blocks").mkdir()
    (victim / "file").write_bytes(bytes.fromhex(prepared.payload_hex))
    (store_dir / "blocks" / prepared.reference).symlink_to(victim / "file")
    with pytest.raises(BackendUnavailableError, match="symbolic link"):
        driver.lookup(prepared.reference)
    receipt = driver.submit(prepared)
    assert not block_path(store_dir, receipt).is_symlink()
    driver.verify(receipt, ROOT)


def test_a_fifo_in_place_of_a_block_does_not_hang(driver: IpfsDriver, receipt: Receipt, store_dir: Path) -> None:
    block_path(store_dir, receipt).unlink()
    os.mkfifo(block_path(store_dir, receipt))
    with pytest.raises(BackendUnavailableError, match="not a regular file"):
        driver.verify(receipt, ROOT)


def test_a_file_where_a_folder_must_be_is_a_clear_error(driver: IpfsDriver, store_dir: Path) -> None:
    store_dir.parent.mkdir(parents=True)
    store_dir.write_text("in the way")
    prepared = driver.prepare(ROOT, METADATA)
    with pytest.raises(StorageError, match=str(store_dir)):
        driver.submit(prepared)
    with pytest.raises(BackendUnavailableError):
        driver.lookup(prepared.reference)
    assert not driver.status().ready


def test_a_full_disk_leaves_nothing_half_written(store_dir: Path) -> None:
    script = """
import resource, signal, sys
from pathlib import Path
from mrv_backends_ipfs.driver import IpfsDriver
from mrv_backends_ipfs.settings import IpfsSettings
from mrv_core.driver import DriverContext
from mrv_core.errors import StorageError
from mrv_core.hashing import HashFactory
driver = IpfsDriver(DriverContext("ipfs", IpfsSettings(), Path(sys.argv[1])))
prepared = driver.prepare(HashFactory.digest(b"a root", "sha256"), {"note": "x" * 1000})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1200, resource.RLIM_INFINITY))  # the block fits, its archive does not
try:
    driver.submit(prepared)
except StorageError as error:
    assert error.hint, error
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert [path for path in Path(sys.argv[1]).rglob("*") if path.is_file()] == []
    driver.verify(driver.submit(prepared), prepared.commitment)
    print("resumed")
"""
    result = subprocess.run([sys.executable, "-c", script, str(store_dir)], capture_output=True, text=True, timeout=60)
    assert (result.stdout, result.stderr) == ("resumed\n", "")


def _anchor_many(store_dir: Path, first: int, count: int) -> None:
    driver = IpfsDriver(DriverContext("ipfs", IpfsSettings(), store_dir))
    for number in range(first, first + count):
        driver.submit(driver.prepare(HashFactory.digest(number.to_bytes(2, "big"), "sha256"), METADATA))


def test_several_processes_write_into_one_store(driver: IpfsDriver, store_dir: Path) -> None:
    context = multiprocessing.get_context("spawn")
    starts = (0, 5, 10)  # neighbours write half of their blocks twice
    workers = [context.Process(target=_anchor_many, args=(store_dir, start, 10)) for start in starts]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    for number in range(20):
        commitment = HashFactory.digest(number.to_bytes(2, "big"), "sha256")
        driver.verify(driver.lookup(driver.prepare(commitment, METADATA).reference), commitment)
    assert len(list((store_dir / "blocks").iterdir())) == len(list((store_dir / "cars").iterdir())) == 20


def test_the_driver_is_found_and_announced_without_loading_anything_heavy() -> None:
    script = """
import sys
from mrv_core.registry import Registry
registry = Registry.load()
registry.settings_model("ipfs")
assert "mrv_backends_ipfs.driver" not in sys.modules
import mrv_backends_ipfs.driver
heavy = {"cryptography", "ipfshttpclient", "numpy", "requests", "torch", "urllib3", "web3"} & set(sys.modules)
print(sorted(heavy), registry.factory("ipfs").extra == "")
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (0, "[] True\n")


def test_the_registry_builds_the_driver(store_dir: Path) -> None:
    driver = Registry.load().create("ipfs", DriverContext("ipfs", IpfsSettings(), store_dir))
    assert driver.status().network_id == "ipfs"
    driver.close()
    driver.close()
