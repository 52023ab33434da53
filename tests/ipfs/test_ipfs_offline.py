# SPDX-License-Identifier: MIT
"""What a receipt of IPFS shows with nobody asked, and what it leaves open."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mrv_backends_ipfs.driver import IpfsDriver
from mrv_backends_ipfs.offline import examine
from mrv_core.driver import TrustedFacts
from mrv_core.errors import VerificationError
from mrv_core.hashing import Digest, HashFactory
from mrv_core.models import Receipt, ReceiptState
from mrv_core.registry import Registry
from mrv_core.testing.conformance import altered, forgeries

ROOT = HashFactory.digest(b"a root", "sha256")
METADATA = {"run_id": "run-1"}
EVERYTHING = TrustedFacts(block_hashes=frozenset({"00" * 32}), log_keys=frozenset({"x+00000000+AA"}), min_work=1)


@pytest.fixture
def receipt(driver: IpfsDriver) -> Receipt:
    return driver.submit(driver.prepare(ROOT, METADATA))


def test_a_receipt_shows_its_block_and_leaves_open_whether_anybody_keeps_it(receipt: Receipt) -> None:
    for trusted in (TrustedFacts(), EVERYTHING):
        examined = examine(receipt, ROOT, trusted)
        assert examined.facts["metadata"] == METADATA
        assert (examined.state, examined.block_time, examined.block_hash) == (ReceiptState.FINAL, None, None)
        assert examined.trusts == ()
        (sentence,) = examined.remaining
        assert f"/ipfs/{receipt.reference}" in sentence
        assert str(examined.facts["sha256"]) in sentence
        assert "gateway" in sentence


@pytest.mark.parametrize("embedded", [True, False])
def test_who_made_the_receipt_is_not_asked(receipt: Receipt, embedded: bool) -> None:
    assert examine(altered(receipt, embedded=embedded, network="elsewhere"), ROOT, TrustedFacts()).commitment == ROOT


def test_every_changed_claim_is_refused(receipt: Receipt) -> None:
    tried = 0
    for what, forged in forgeries(receipt):
        if what == "embedded":  # nothing in the receipt says who kept the block
            continue
        with pytest.raises(VerificationError):
            examine(forged, ROOT, TrustedFacts())
        tried += 1
    assert tried >= 20
    for changes in ({"driver": "log"}, {"state": ReceiptState.PENDING}, {"state": ReceiptState.INCLUDED}):
        with pytest.raises(VerificationError):
            examine(altered(receipt, **changes), ROOT, TrustedFacts())
    with pytest.raises(VerificationError):
        examine(receipt, Digest("blake3", ROOT.value), TrustedFacts())


def test_a_claim_that_is_shown_is_short_and_drives_no_terminal(driver: IpfsDriver, receipt: Receipt) -> None:
    for name in ("driver", "network_id", "network"):
        hostile = altered(receipt, **{name: "\x1b[2J\u202e" + "x" * 100_000})
        with pytest.raises(VerificationError) as failure:
            driver.verify(hostile, ROOT)
        assert failure.value.message.isprintable()
        assert len(failure.value.message) < 200


def test_the_registry_finds_the_examiner_and_it_loads_nothing_heavy() -> None:
    assert Registry.load().examiner("ipfs") is examine
    script = """
import sys
import mrv_backends_ipfs.offline
print(sorted(name for name in sys.modules if name.startswith(("mrv_backends_ipfs", "requests", "ipfshttpclient"))))
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    allowed = ["", ".cid", ".evidence", ".offline"]
    assert result.stdout == f"{['mrv_backends_ipfs' + name for name in allowed]}\n"
