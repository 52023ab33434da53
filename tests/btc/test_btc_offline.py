# SPDX-License-Identifier: MIT
"""What a receipt shows with nobody asked, and what then remains to be asked (A07, A47)."""

from __future__ import annotations

import socket
from datetime import timedelta
from typing import Any

import pytest
from bitcoin.core import CScript
from btc.forging import coinbase, forged_receipt, h
from btc.support import MakeDriver, anchor, commitment_of, settings_for
from btc.test_btc_header import grind
from btc.test_btc_transaction import build

from mrv_backends_btc.driver import BitcoinDriver
from mrv_backends_btc.evidence import height_push
from mrv_backends_btc.offline import examine
from mrv_backends_btc.payload import output_script
from mrv_core.driver import DriverContext, TrustedFacts
from mrv_core.errors import MrvError, VerificationError
from mrv_core.hashing import Digest
from mrv_core.models import NO_METADATA, ExaminedReceipt, Receipt, ReceiptState
from mrv_core.testing.conformance import altered, forgeries
from mrv_devnet.nodes import BitcoinNode

NOTHING = TrustedFacts()


@pytest.fixture(scope="module")
def receipt(regtest: BitcoinNode, tmp_path_factory: pytest.TempPathFactory) -> Receipt:
    """An honest receipt, from a block of four transactions."""
    folder = tmp_path_factory.mktemp("receipt")
    for _ in range(2):
        regtest.wallet_rpc("miner", "send", [{"data": "00"}], None, "unset", 5)
    driver = BitcoinDriver(DriverContext("bitcoin", settings_for(regtest), folder))
    made = anchor(driver, regtest, commitment_of("offline"))
    driver.close()
    return made


@pytest.fixture(autouse=True)
def _no_network(receipt: Receipt, monkeypatch: pytest.MonkeyPatch) -> None:
    """An examiner asks nobody."""

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def is_accepted(receipt: Receipt, commitment: Digest) -> bool:
    try:
        examine(receipt, commitment, NOTHING)
    except VerificationError:
        return False
    return True


class TestHonestReceipts:
    def test_one_thing_remains(self, receipt: Receipt) -> None:
        examined = examine(receipt, receipt.commitment, NOTHING)
        block = receipt.evidence["block_hash"]
        assert (examined.reference, examined.commitment) == (receipt.reference, receipt.commitment)
        assert (examined.state, examined.block_hash, examined.block_time) == (
            ReceiptState.FINAL,
            block,
            receipt.block_time,
        )
        [remaining] = examined.remaining
        assert block in remaining
        assert f"height {receipt.evidence['height']}" in remaining
        assert "regtest (bip122:0f9188f13cb7b2c71f2a335e3a4fc328)" in remaining
        assert examined.trusts == ()
        assert examined.facts["block_height"] == receipt.evidence["height"]

    def test_a_block_that_the_verifier_knows_settles_it(self, receipt: Receipt) -> None:
        block = receipt.evidence["block_hash"]
        examined = examine(receipt, receipt.commitment, TrustedFacts(block_hashes=frozenset({block})))
        assert examined.remaining == ()
        [trust] = examined.trusts
        assert block in trust
        other = examine(receipt, receipt.commitment, TrustedFacts(block_hashes=frozenset({"ab" * 32})))
        assert other.remaining

    def test_work_settles_it_only_where_the_verifier_says_how_much(self, receipt: Receipt) -> None:
        """A block of regtest costs two hashes."""
        enough = examine(receipt, receipt.commitment, TrustedFacts(min_work=1))
        assert enough.remaining == ()
        assert "2^1 hashes" in enough.trusts[0]
        assert examine(receipt, receipt.commitment, TrustedFacts(min_work=2)).remaining

    def test_without_evidence_everything_remains(self, receipt: Receipt) -> None:
        pending = altered(receipt, state=ReceiptState.PENDING, block_time=None, evidence={})
        examined = examine(pending, receipt.commitment, TrustedFacts(min_work=0))
        assert examined.state is ReceiptState.PENDING
        assert receipt.reference in examined.remaining[0]
        claimed = altered(pending, state=ReceiptState.FINAL)
        assert examine(claimed, receipt.commitment, NOTHING).state is ReceiptState.PENDING


class TestForgedReceipts:
    def test_every_changed_claim_is_refused(self, receipt: Receipt) -> None:
        accepted = [
            what
            for what, forged in forgeries(receipt)
            for commitment in {forged.commitment, receipt.commitment}
            if is_accepted(forged, commitment)
        ]
        # The chain is what remains to be asked for: another name of one is compared there, not here.
        assert all(what.startswith("network_id") for what in accepted), accepted

    def test_every_flipped_bit_of_the_evidence_is_refused(self, receipt: Receipt) -> None:
        texts = [key for key, value in receipt.evidence.items() if isinstance(value, str) and key != "format"]
        texts += [(key, i) for key in ("merkle_branch", "coinbase_branch") for i in range(len(receipt.evidence[key]))]
        for place in texts:
            for forged in flipped(receipt.evidence, place):
                assert not is_accepted(altered(receipt, evidence=forged), receipt.commitment), place

    @pytest.mark.parametrize(
        "changes",
        [
            {"driver": "ethereum"},
            {"embedded": True},
            {"network_id": "eip155:1"},
            {"network_id": "bip122:"},
            {"network_id": "bip122:0F9188F13CB7B2C71F2A335E3A4FC328"},
            {"evidence": {"format": "mrv-evidence-bitcoin/2"}},
            {"evidence": {"format": None}},
            {"evidence": {}},
        ],
    )
    def test_claims_that_this_driver_never_makes(self, receipt: Receipt, changes: dict[str, Any]) -> None:
        with pytest.raises(VerificationError):
            examine(altered(receipt, **changes), receipt.commitment, NOTHING)

    def test_another_time(self, receipt: Receipt) -> None:
        assert receipt.block_time is not None
        for time in (None, receipt.block_time - timedelta(days=365), receipt.block_time + timedelta(seconds=1)):
            with pytest.raises(VerificationError, match="block time"):
                examine(altered(receipt, block_time=time), receipt.commitment, NOTHING)

    def test_what_is_shown_of_a_receipt_drives_no_terminal(self, receipt: Receipt) -> None:
        hostile = "\x1b[2J\u202e\n" + "x" * 100_000
        for name in ("driver", "network_id", "reference"):
            with pytest.raises(VerificationError) as failure:
                examine(altered(receipt, **{name: hostile}), receipt.commitment, NOTHING)
            assert failure.value.message.isprintable()
            assert len(failure.value.message) < 400

    def test_a_reference_that_is_no_transaction_id(self, receipt: Receipt) -> None:
        pending = altered(receipt, state=ReceiptState.PENDING, block_time=None, evidence={}, reference="../../etc")
        with pytest.raises(VerificationError, match="no transaction id"):
            examine(pending, receipt.commitment, NOTHING)


def flipped(evidence: dict[str, Any], place: Any) -> list[dict[str, Any]]:
    """Return copies of evidence with each bit of one of its texts flipped; `place` is a key, or a key and an index."""
    key, index = place if isinstance(place, tuple) else (place, None)
    text = evidence[key] if index is None else evidence[key][index]
    found = []
    for bit in range(4 * len(text)):
        data = bytearray.fromhex(text)
        data[bit // 8] ^= 1 << bit % 8
        if index is None:
            found.append({**evidence, key: data.hex()})
        else:
            branch = list(evidence[key])
            branch[index] = data.hex()
            found.append({**evidence, key: branch})
    return found


class TestForgedBlocks:
    """A07: everything in them is right but the work, so that is what has to tell them apart."""

    def test_on_regtest_the_block_remains_to_be_asked_for(self) -> None:
        forged = forged_receipt(commitment_of("forged"))
        assert forged.evidence["block_hash"] in examine(forged, forged.commitment, NOTHING).remaining[0]

    @pytest.mark.parametrize("chain", ["main", "test", "testnet4", "signet"])
    def test_on_every_other_chain_they_are_refused(self, chain: str) -> None:
        forged = forged_receipt(commitment_of("forged"), chain)
        for trusted in (NOTHING, TrustedFacts(min_work=0)):
            with pytest.raises(VerificationError, match="easier chain"):
                examine(forged, forged.commitment, trusted)

    def test_a_floor_of_the_verifier_is_not_met(self) -> None:
        forged = forged_receipt(commitment_of("forged"))
        for bits in (1, 2, 40, 255):
            settled = not examine(forged, forged.commitment, TrustedFacts(min_work=bits)).remaining
            assert settled is (bits == 1)

    def test_an_unknown_chain_is_named_as_such(self) -> None:
        forged = altered(forged_receipt(commitment_of("forged")), network_id="bip122:" + "ab" * 16)
        for trusted in (NOTHING, TrustedFacts(min_work=1)):
            assert "bip122:abab" in examine(forged, forged.commitment, trusted).remaining[0]

    @pytest.mark.parametrize("bits", [0x207FFFFF, 0x2000FFFF])
    def test_work_settles_nothing_of_a_chain_whose_blocks_never_cost_so_much(self, bits: int) -> None:
        """A47: an honest receipt of a dear chain, of which somebody says that it is one of a cheap chain."""
        dear = forged_receipt(commitment_of("dear"), bits=bits)
        examined = examine(dear, dear.commitment, TrustedFacts(min_work=1))
        assert bool(examined.remaining) is (bits != 0x207FFFFF)
        block = TrustedFacts(block_hashes=frozenset({dear.evidence["block_hash"]}), min_work=1)
        [trust] = examine(dear, dear.commitment, block).trusts
        assert "regtest" in trust

    @pytest.mark.parametrize("height", [1, 16, 17, 127, 128, 255, 256, 32_767, 32_768, 8_388_608, 900_000])
    def test_the_coinbase_states_the_height(self, height: int) -> None:
        """BIP 34; compared with Script's own rules for numbers."""
        assert height_push(height) == bytes(CScript([height]))
        if height <= 16:
            return
        forged = forged_receipt(commitment_of("height"), height=height)
        assert examine(forged, forged.commitment, NOTHING).facts["block_height"] == height
        for other in (height - 1, height + 1, 0):
            moved = altered(forged, evidence={**forged.evidence, "height": other})
            with pytest.raises(VerificationError, match=f"not at height {other}"):
                examine(moved, forged.commitment, NOTHING)

    def test_an_inner_node_does_not_pass_for_the_transaction(self) -> None:
        """CVE-2017-12842: the block's real second transaction has 64 bytes, half of them the id of a forged one."""
        forged = build([output_script(commitment_of("inner")), b"\x51" * 20])
        first = coinbase(900_000)
        real = bytes(32) + h(forged)
        assert len(real) == 64
        header = grind(h(h(first) + h(real)), 0x207FFFFF)
        honest = forged_receipt(commitment_of("inner"))
        evidence = {
            **honest.evidence,
            "transaction": forged.hex(),
            "transaction_index": 3,
            "merkle_branch": [bytes(32).hex(), h(first).hex()],
            "coinbase": first.hex(),
            "coinbase_branch": [h(real).hex()],
            "header": header.data.hex(),
            "block_hash": header.hash_hex,
        }
        receipt = altered(honest, reference=h(forged)[::-1].hex(), evidence=evidence, block_time=header.time)
        with pytest.raises(VerificationError, match="different lengths"):
            examine(receipt, receipt.commitment, NOTHING)

    def test_the_coinbase_is_no_anchor(self) -> None:
        """Nor is another transaction the coinbase."""
        honest = forged_receipt(commitment_of("roles"))
        evidence = honest.evidence
        swapped = {
            "transaction": evidence["coinbase"],
            "coinbase": evidence["transaction"],
            "merkle_branch": evidence["coinbase_branch"],
            "coinbase_branch": evidence["merkle_branch"],
        }
        for changes in (swapped, {"coinbase": evidence["transaction"]}, {"coinbase_branch": evidence["merkle_branch"]}):
            with pytest.raises(VerificationError):
                examine(altered(honest, evidence={**evidence, **changes}), honest.commitment, NOTHING)


def test_an_examined_receipt_reads_back(receipt: Receipt) -> None:
    examined = examine(receipt, receipt.commitment, NOTHING)
    assert ExaminedReceipt.from_bytes(examined.to_bytes(), what="examined receipt") == examined


def test_what_a_driver_never_saw_is_examined_the_same(receipt: Receipt, monkeypatch: pytest.MonkeyPatch) -> None:
    """The receipt is read from its bytes, as a file gives it."""
    read = Receipt.from_bytes(receipt.to_bytes(), what="receipt")
    assert examine(read, receipt.commitment, NOTHING) == examine(receipt, receipt.commitment, NOTHING)
    with pytest.raises(MrvError):
        examine(read, commitment_of("another"), NOTHING)


class TestPendingReceipts:
    def test_from_a_driver(
        self, regtest: BitcoinNode, make_driver: MakeDriver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.undo()
        driver = make_driver(regtest)
        pending = driver.submit(driver.prepare(commitment_of("pending"), NO_METADATA))
        examined = examine(pending, pending.commitment, NOTHING)
        assert examined.state is ReceiptState.PENDING
        assert pending.reference in examined.remaining[0]
