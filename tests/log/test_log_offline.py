# SPDX-License-Identifier: MIT
"""A receipt of a log, examined without the log: what holds by itself, what needs the key, what needs a library."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mrv_backends_log.driver import LogDriver
from mrv_backends_log.note import SigningKey
from mrv_backends_log.offline import examine
from mrv_core.driver import TrustedFacts
from mrv_core.errors import ConfigurationError, VerificationError
from mrv_core.hashing import HashFactory
from mrv_core.models import NO_METADATA, Receipt, ReceiptState
from mrv_core.registry import Registry

COMMITMENT = HashFactory.digest(b"root", "sha256")


@pytest.fixture
def receipt(driver: LogDriver) -> Receipt:
    for text in (b"one", b"two"):
        driver.submit(driver.prepare(HashFactory.digest(text, "sha256"), NO_METADATA))
    return driver.submit(driver.prepare(COMMITMENT, {"run_id": "run-1"}))


@pytest.fixture
def key(receipt: Receipt, store_dir: Path) -> str:
    return (store_dir / "log.vkey").read_text().strip()


def trusting(*keys: str) -> TrustedFacts:
    return TrustedFacts(log_keys=frozenset(keys))


def test_the_driver_names_it(receipt: Receipt) -> None:
    assert Registry.load().examiner("log") is examine


def test_without_the_key_everything_but_the_signature_is_checked(receipt: Receipt, key: str) -> None:
    found = examine(receipt, COMMITMENT, trusting())
    key_id = key.split("+")[1]
    assert (found.state, found.block_hash, found.block_time, found.trusts) == (ReceiptState.FINAL, None, None, ())
    (remaining,) = found.remaining
    assert f"key {key_id}" in remaining
    assert receipt.network_id in remaining
    assert found.facts == {**found.facts, "leaf_index": 2, "checkpoint_size": 3, "key_id": key_id}


def test_with_the_key_nothing_remains(receipt: Receipt, key: str) -> None:
    found = examine(receipt, COMMITMENT, trusting(key))
    assert found.remaining == ()
    assert key in found.trusts[0]
    stranger = str(SigningKey("example.org/log", bytes(32)).verifier)
    assert examine(receipt, COMMITMENT, trusting(key, stranger)).remaining == ()
    assert len(examine(receipt, COMMITMENT, trusting(stranger)).remaining) == 1


def test_another_key_of_the_same_name_is_wrong(receipt: Receipt, key: str) -> None:
    impostor = str(SigningKey(receipt.network_id, bytes(32)).verifier)
    with pytest.raises(VerificationError, match="signed by another key"):
        examine(receipt, COMMITMENT, trusting(impostor))
    assert examine(receipt, COMMITMENT, trusting(impostor, key)).remaining == ()


def test_a_flipped_signature_is_found_by_the_key_alone(receipt: Receipt, key: str) -> None:
    proof = receipt.evidence["proof"]
    place = len(proof) - 20
    other = proof[:place] + ("A" if proof[place] != "A" else "B") + proof[place + 1 :]
    changed = receipt.model_copy(update={"evidence": {**receipt.evidence, "proof": other}})
    assert len(examine(changed, COMMITMENT, trusting()).remaining) == 1
    with pytest.raises(VerificationError, match=r"signature of .* does not hold"):
        examine(changed, COMMITMENT, trusting(key))


@pytest.mark.parametrize(
    "change",
    [
        {"driver": "ipfs"},
        {"embedded": False},
        {"state": ReceiptState.PENDING},
        {"network_id": "mrv.local/log/other"},
        {"reference": "mrv.local/log/other#" + "00" * 32},
        {"commitment": HashFactory.digest(b"other", "sha256")},
        {"evidence": {}},
    ],
)
def test_whatever_else_a_receipt_claims_is_compared(receipt: Receipt, change: dict[str, Any]) -> None:
    with pytest.raises(VerificationError):
        examine(receipt.model_copy(update=change), COMMITMENT, trusting())
    with pytest.raises(VerificationError):
        examine(receipt, HashFactory.digest(b"other", "sha256"), trusting())


@pytest.mark.parametrize("text", ["", "name", "name+00000000+AQ==", "PRIVATE+KEY+name+00000000+AQ=="])
def test_what_is_no_key_is_the_verifiers_error(receipt: Receipt, text: str) -> None:
    with pytest.raises(ConfigurationError, match="is not the key of a log"):
        examine(receipt, COMMITMENT, trusting(text))


def test_the_library_is_needed_for_the_signature_only(receipt: Receipt, key: str, tmp_path: Path) -> None:
    """Whoever only verifies may lack the extra: what can be checked without it is."""
    program = """
import json, sys
sys.modules["cryptography"] = None
from mrv_backends_log.offline import examine
from mrv_core.driver import TrustedFacts
from mrv_core.errors import BackendError
from mrv_core.models import Receipt
given = json.load(sys.stdin)
receipt = Receipt.from_json(given["receipt"], what="receipt")
print(len(examine(receipt, receipt.commitment, TrustedFacts()).remaining))
try:
    examine(receipt, receipt.commitment, TrustedFacts(log_keys=frozenset({given["key"]})))
except BackendError as error:
    print(error.message, "|", error.hint)
"""
    given = json.dumps({"receipt": receipt.to_json(), "key": key})
    done = subprocess.run(
        [sys.executable, "-c", program], input=given, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    remaining, told = done.stdout.splitlines()
    assert remaining == "1"
    assert "needs the package 'cryptography'" in told
    assert told.endswith("| pip install 'mrv-provenance[log]'")
