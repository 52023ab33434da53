# SPDX-License-Identifier: MIT
"""Receipts examined alone: what they show, what remains to be asked, and that no changed byte is accepted."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mrv_backends_eth import rlp
from mrv_backends_eth.driver import EthereumDriver
from mrv_backends_eth.hexadecimal import to_hex
from mrv_backends_eth.keccak import keccak256
from mrv_backends_eth.offline import examine
from mrv_backends_eth.trie_build import ListTrie
from mrv_core.driver import TrustedFacts
from mrv_core.errors import VerificationError
from mrv_core.hashing import Digest, HashFactory
from mrv_core.models import NO_METADATA, Receipt, ReceiptState
from mrv_core.registry import Registry
from mrv_core.testing.conformance.forgeries import forgeries

COMMITMENT = HashFactory.digest(b"a run", "sha256")
NEIGHBOUR = HashFactory.digest(b"another run", "sha256")
NOTHING = TrustedFacts()


def included(chain: Any, commitment: Digest = COMMITMENT, **settings: Any) -> Receipt:
    driver = chain.driver(**settings)
    receipt = driver.submit(driver.prepare(commitment, {"run": "r1"}))
    driver.submit(driver.prepare(NEIGHBOUR, NO_METADATA))
    chain.mine()
    upgraded: Receipt = driver.upgrade(receipt)
    return upgraded


def embedded(driver: EthereumDriver) -> Receipt:
    driver.submit(driver.prepare(NEIGHBOUR, NO_METADATA))
    return driver.submit(driver.prepare(COMMITMENT, {"run": "r1"}))


@pytest.fixture(params=["contract", "calldata", "embedded"])
def receipt(request: pytest.FixtureRequest) -> Receipt:
    if request.param == "embedded":
        return embedded(request.getfixturevalue("driver"))
    return included(request.getfixturevalue("chain"), mode=request.param)


def is_refused(receipt: Receipt, commitment: Digest = COMMITMENT) -> bool:
    try:
        examine(receipt, commitment, NOTHING)
    except VerificationError:
        return True
    return False


def trusting(receipt: Receipt) -> TrustedFacts:
    return TrustedFacts(block_hashes=frozenset({receipt.evidence["block_hash"][2:]}))


# What it shows.


def test_the_registry_names_the_examiner() -> None:
    assert Registry.load().examiner("ethereum") is examine


def test_one_thing_remains_and_the_verifier_can_settle_it(receipt: Receipt) -> None:
    examined = examine(receipt, COMMITMENT, NOTHING)
    block = receipt.evidence["block_hash"]
    assert (examined.commitment, examined.reference) == (COMMITMENT, receipt.reference)
    assert (examined.state, examined.block_time) == (receipt.state, receipt.block_time)
    assert examined.block_hash == block[2:]
    assert (len(examined.remaining), examined.trusts) == (1, ())
    assert f"block {block} (number {receipt.evidence['block_number']})" in examined.remaining[0]
    settled = examine(receipt, COMMITMENT, trusting(receipt))
    assert settled.remaining == ()
    assert settled.trusts == (
        f"block {block} (number {receipt.evidence['block_number']}) was given by the verifier as one of the chain "
        f"{receipt.network_id}",
    )
    other = TrustedFacts(block_hashes=frozenset({"ab" * 32}))
    assert examine(receipt, COMMITMENT, other).remaining == examined.remaining


def test_what_remains_names_the_chain_or_that_nobody_keeps_it(chain: Any, driver: EthereumDriver) -> None:
    real = examine(included(chain), COMMITMENT, NOTHING).remaining[0]
    assert real.endswith("is in the chain eip155:31337: compare it with a node or an explorer of your own choice")
    kept = examine(embedded(driver), COMMITMENT, NOTHING).remaining[0]
    assert kept.endswith("is in the embedded chain of the folder it was made in; nobody else keeps it")


def test_facts_say_who_anchored_and_what_is_not_proven(chain: Any) -> None:
    state = examine(included(chain), COMMITMENT, NOTHING).facts
    assert (state["submitter"], state["contract"].lower()) == (chain.address, chain.contract)
    assert state["transaction"] == "named by the receipt; its record is proven, the transaction itself is not"
    assert examine(included(chain, mode="calldata"), COMMITMENT, NOTHING).facts["submitter"] == chain.address


def test_a_record_older_than_its_block_remains_to_be_compared(chain: Any) -> None:
    """Only the contract says so, and whoever deploys it can fill in what it likes."""
    included(chain)
    again = included(chain)
    examined = examine(again, COMMITMENT, trusting(again))
    assert len(examined.remaining) == 1
    assert "whoever deployed it could have filled in earlier times" in examined.remaining[0]
    assert examined.block_time == again.block_time


def test_an_algorithm_that_the_state_does_not_name_remains(chain: Any) -> None:
    commitment = HashFactory.digest(b"a run", "blake3")
    receipt = included(chain, commitment)
    assert "are a blake3 digest" in examine(receipt, commitment, trusting(receipt)).remaining[0]


@pytest.mark.parametrize("mode", ["contract", "calldata"])
def test_a_receipt_that_waits_shows_what_was_signed(chain: Any, mode: str) -> None:
    driver = chain.driver(mode=mode)
    receipt = driver.submit(driver.prepare(COMMITMENT, NO_METADATA))
    for waiting in (receipt, receipt.model_copy(update={"evidence": {}})):
        examined = examine(waiting, COMMITMENT, NOTHING)
        assert (examined.state, examined.block_time, examined.block_hash) == (ReceiptState.PENDING, None, None)
        assert f"whether transaction {receipt.reference} is in the chain" in examined.remaining[0]
        for changes in (
            {"state": ReceiptState.FINAL},
            {"state": ReceiptState.INCLUDED},
            {"commitment": NEIGHBOUR},
            {"block_time": receipt.submitted_at},
        ):
            forged = waiting.model_copy(update=changes)
            assert is_refused(forged) or (not waiting.evidence and "commitment" in changes)
    other = driver.prepare(NEIGHBOUR, NO_METADATA)
    raw = {"format": "mrv-evidence-ethereum-pending/1", "transaction": "0x" + other.payload_hex}
    assert is_refused(receipt.model_copy(update={"evidence": raw}))
    assert is_refused(receipt.model_copy(update={"evidence": raw, "reference": other.reference}))
    assert is_refused(receipt.model_copy(update={"network_id": "eip155:1"}))


# What it refuses.


def test_every_changed_claim_is_refused(receipt: Receipt) -> None:
    """But for what a state proof cannot show: which chain, and which transaction; both are said to remain."""
    open_claims = ("network_id", "reference") if receipt.evidence["format"].endswith("state/1") else ()
    accepted = [
        what
        for what, forged in forgeries(receipt)
        for commitment in {forged.commitment, COMMITMENT}
        if not what.startswith((*open_claims, "commitment's algorithm")) and not is_refused(forged, commitment)
    ]
    assert not accepted


def test_claims_of_another_kind_are_refused(receipt: Receipt) -> None:
    for changes in (
        {"driver": "bitcoin"},
        {"format": "mrv-receipt/2"},
        {"network_id": "ipfs"},
        {"network_id": "eip155:01"},
        {"reference": "0x12"},
        {"embedded": not receipt.embedded},
        {"block_time": None},
        {"block_time": receipt.submitted_at - timedelta(days=1)},
        {"evidence": {}},
        {"evidence": {"format": []}},
        {"evidence": {"format": "mrv-evidence-ethereum/2"}},
    ):
        assert is_refused(receipt.model_copy(update=changes)), changes


def byte_flips(evidence: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the evidence with each byte of each of its byte strings changed in turn."""

    def strings(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], str]]:
        if isinstance(value, str) and value.startswith("0x"):
            yield path, value
        for key, child in (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        ):
            yield from strings(child, (*path, key))

    for path, text in strings(evidence, ()):
        for position in range(2, len(text), 2):
            changed = place = copy.deepcopy(evidence)
            for key in path[:-1]:
                place = place[key]
            byte = int(text[position : position + 2], 16) ^ 1 << position // 2 % 8
            place[path[-1]] = f"{text[:position]}{byte:02x}{text[position + 2 :]}"
            yield f"{path} at {position}", changed


def test_no_changed_byte_is_accepted(receipt: Receipt) -> None:
    tried = 0
    for where, changed in byte_flips(receipt.evidence):
        assert is_refused(receipt.model_copy(update={"evidence": changed})), where
        tried += 1
    assert tried > 800


def test_a_transaction_of_an_unknown_type_is_no_anchor(chain: Any) -> None:
    """As rollups have them in their blocks; in a block of our own making, since no hash guards such a forgery."""
    receipt = included(chain, mode="calldata")
    trie = ListTrie.build([b"\x7e" + rlp.encode([b"deposit"])])
    fields = rlp.decode_list(bytes.fromhex(receipt.evidence["header"][2:]), what="header")
    header = rlp.encode([*fields[:4], trie.root, *fields[5:]])
    changes = {"header": header, "block_hash": keccak256(header)}
    evidence = {**receipt.evidence, **{name: to_hex(value) for name, value in changes.items()}}
    evidence |= {"transaction_index": 0, "transaction_proof": [to_hex(node) for node in trie.prove(0)]}
    forged = receipt.model_copy(update={"evidence": evidence})
    driver = chain.driver(mode="calldata")
    for check in (lambda: examine(forged, COMMITMENT, NOTHING), lambda: driver.verify(forged, COMMITMENT)):
        with pytest.raises(VerificationError, match="transactions of type 126 are not known"):
            check()
    assert driver.upgrade(forged) == receipt


def test_evidence_of_one_anchor_says_nothing_about_another(chain: Any) -> None:
    for mode in ("contract", "calldata"):
        mine, theirs = included(chain, mode=mode), included(chain, HashFactory.digest(b"third", "sha256"), mode=mode)
        assert is_refused(mine.model_copy(update={"evidence": theirs.evidence}))
        assert is_refused(theirs.model_copy(update={"commitment": COMMITMENT}))


def test_a_header_of_our_own_making_is_not_the_verifiers(chain: Any) -> None:
    """Whoever makes up a whole block convinces nobody who has the hash from elsewhere."""
    receipt = included(chain)
    trusted = trusting(receipt)
    chain.reorg(1)
    again = included(chain)
    assert examine(again, COMMITMENT, trusted).remaining
    assert not examine(receipt, COMMITMENT, trusted).remaining


# With what.


WITHOUT_LIBRARIES = """
import importlib.abc, sys

LIBRARIES = "Crypto web3 eth eth_account eth_keys eth_utils rlp trie coincurve".split()

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in LIBRARIES:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocked())
from mrv_backends_eth.offline import examine
from mrv_core.driver import TrustedFacts
from mrv_core.models import Receipt

receipt = Receipt.from_bytes(sys.stdin.buffer.read(), what="receipt")
opened = []
sys.addaudithook(lambda event, arguments: opened.append(event) if event in ("open", "socket.connect") else None)
examined = examine(receipt, receipt.commitment, TrustedFacts())
print(examined.to_bytes().decode())
assert not opened, opened
assert not {"mrv_backends_eth.settings", "mrv_backends_eth.driver", "sqlite3", "http.client"} & set(sys.modules)
"""


def test_it_needs_no_library_no_file_and_no_network(receipt: Receipt) -> None:
    command = [sys.executable, "-c", WITHOUT_LIBRARIES]
    done = subprocess.run(command, input=receipt.to_bytes(), capture_output=True, check=True, timeout=60)
    assert json.loads(done.stdout) == examine(receipt, COMMITMENT, NOTHING).to_json()


def test_golden_receipts_stay_readable(request: pytest.FixtureRequest) -> None:
    """One receipt of each format, made by the version that introduced it; never made anew."""
    files = sorted(Path(request.path).with_name("golden").glob("*.json"))
    assert [file.stem for file in files] == ["calldata-1", "embedded-1", "pending-1", "registry-1", "state-1"]
    for file in files:
        receipt = Receipt.from_bytes(file.read_bytes(), what=file.name)
        examined = examine(receipt, receipt.commitment, NOTHING)
        assert (examined.reference, examined.block_time) == (receipt.reference, receipt.block_time)
