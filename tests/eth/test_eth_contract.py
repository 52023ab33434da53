# SPDX-License-Identifier: MIT
"""The MLProvenance contract in an EVM: nothing recorded ever changes, and nobody can spoil another's record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from eth_tester import EthereumTester, PyEVMBackend
from eth_tester.exceptions import TransactionFailed
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from web3 import EthereumTesterProvider, Web3
from web3.logs import DISCARD

from mrv_backends_eth import contract as mlprovenance
from mrv_backends_eth.keccak import keccak256

ROOT = bytes(range(32))
OTHER = b"\x77" * 32


class Registry:
    """The contract on a fresh chain, called by numbered accounts."""

    def __init__(self) -> None:
        self.tester = EthereumTester(PyEVMBackend())
        self.web3 = Web3(EthereumTesterProvider(self.tester))
        self.accounts = self.web3.eth.accounts
        artifact = mlprovenance.artifact()
        deployed = self.web3.eth.contract(abi=artifact["abi"], bytecode=artifact["bytecode"]).constructor().transact()
        self.address = self.web3.eth.wait_for_transaction_receipt(deployed).contractAddress
        self.contract = self.web3.eth.contract(address=self.address, abi=artifact["abi"])

    def store(self, root: bytes, metadata: str = "", sender: int = 0) -> Any:
        call = self.contract.functions.storeHash(root, metadata)
        return self.web3.eth.wait_for_transaction_receipt(call.transact({"from": self.accounts[sender]}))

    def read(self, function: str, *arguments: Any) -> Any:
        return self.contract.functions[function](*arguments).call()

    def events(self, name: str, receipt: Any) -> list[dict[str, Any]]:
        return [dict(event.args) for event in self.contract.events[name]().process_receipt(receipt, errors=DISCARD)]

    def time_of(self, receipt: Any) -> int:
        return self.web3.eth.get_block(receipt.blockNumber).timestamp

    def later(self) -> None:
        self.tester.time_travel(self.web3.eth.get_block("pending").timestamp + 1000)


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_deployed_code_is_the_artifacts(registry: Registry) -> None:
    code = registry.web3.eth.get_code(registry.address)
    assert code.to_0x_hex() == mlprovenance.artifact()["deployedBytecode"]
    assert keccak256(bytes(code)) == mlprovenance.code_hash()


def test_the_seven_getters_tell_one_story(registry: Registry) -> None:
    assert registry.read("getHashInfo", ROOT) == [False, 0, ""]
    receipt = registry.store(ROOT, '{"run":"r1"}', sender=2)
    time = registry.time_of(receipt)
    assert registry.read("verifyHash", ROOT) is True
    assert registry.read("storedHashes", ROOT) is True
    assert registry.read("timestamps", ROOT) == time
    assert registry.read("metadata", ROOT) == '{"run":"r1"}'
    assert registry.read("getHashInfo", ROOT) == [True, time, '{"run":"r1"}']
    assert registry.read("firstSubmitter", ROOT) == registry.accounts[2]
    assert registry.read("getSubmission", registry.accounts[2], ROOT) == [time, receipt.blockNumber]
    assert registry.read("verifyHash", OTHER) is False
    assert registry.read("getSubmission", registry.accounts[0], ROOT) == [0, 0]


def test_events_of_the_first_call(registry: Registry) -> None:
    receipt = registry.store(ROOT, "label", sender=1)
    time = registry.time_of(receipt)
    assert registry.events("HashStored", receipt) == [{"merkleRoot": ROOT, "metadata": "label", "timestamp": time}]
    assert registry.events("HashSubmitted", receipt) == [
        {"merkleRoot": ROOT, "submitter": registry.accounts[1], "metadata": "label", "timestamp": time}
    ]


@pytest.mark.parametrize("sender", [0, 1], ids=["same-sender", "other-sender"])
def test_first_write_stands_and_a_repeat_succeeds(registry: Registry, sender: int) -> None:
    registry.store(ROOT, "first")
    before = registry.read("getHashInfo", ROOT), registry.read("firstSubmitter", ROOT)
    registry.later()
    receipt = registry.store(ROOT, "second", sender)
    assert receipt.status == 1
    assert (registry.read("getHashInfo", ROOT), registry.read("firstSubmitter", ROOT)) == before
    assert registry.events("HashStored", receipt) == []


def test_repeating_keeps_the_submitters_own_first_time(registry: Registry) -> None:
    first = registry.store(ROOT, "first")
    registry.later()
    again = registry.store(ROOT, "again")
    expected = [registry.time_of(first), first.blockNumber]
    assert registry.read("getSubmission", registry.accounts[0], ROOT) == expected
    assert registry.events("HashSubmitted", again)[0]["timestamp"] == expected[0]


def test_whoever_copies_a_root_takes_nothing_from_its_owner(registry: Registry) -> None:
    """The copy overtakes the pending call; the owner's call still succeeds and leaves the owner's own record."""
    thief, owner = 1, 0
    registry.store(ROOT, '{"mine":"no"}', sender=thief)
    registry.later()
    receipt = registry.store(ROOT, '{"run":"r1"}', sender=owner)
    time = registry.time_of(receipt)
    assert registry.read("getSubmission", registry.accounts[owner], ROOT) == [time, receipt.blockNumber]
    stated = registry.events("HashSubmitted", receipt)[0]
    assert (stated["submitter"], stated["metadata"]) == (registry.accounts[owner], '{"run":"r1"}')


def test_zero_hash_is_refused_by_name(registry: Registry) -> None:
    with pytest.raises(TransactionFailed) as failure:
        registry.store(bytes(32))
    assert repr(keccak256(b"ZeroHash()")[:4]) in str(failure.value)


def test_metadata_is_capped(registry: Registry) -> None:
    longest = "x" * mlprovenance.MAX_LABEL_BYTES
    registry.store(ROOT, longest)
    assert registry.read("metadata", ROOT) == longest
    with pytest.raises(TransactionFailed) as failure:
        registry.store(OTHER, longest + "x")
    assert repr(keccak256(b"MetadataTooLong(uint256,uint256)")[:4])[2:-1] in str(failure.value)
    assert registry.read("verifyHash", OTHER) is False


def test_storage_words_are_where_proofs_look_for_them(registry: Registry) -> None:
    receipt = registry.store(ROOT, "label", sender=3)
    submitter = bytes.fromhex(registry.accounts[3][2:])
    slot = mlprovenance.submission_slot(submitter, ROOT)
    word = int.from_bytes(registry.web3.eth.get_storage_at(registry.address, int.from_bytes(slot, "big")), "big")
    assert mlprovenance.decode_submission(word) == mlprovenance.Submission(
        registry.time_of(receipt), receipt.blockNumber
    )
    slot = int.from_bytes(keccak256(ROOT + (1).to_bytes(32, "big")), "big")
    word = int.from_bytes(registry.web3.eth.get_storage_at(registry.address, slot), "big")
    assert word == registry.time_of(receipt) << 160 | int.from_bytes(submitter, "big")


def test_a_short_record_costs_about_what_the_seed_promises(registry: Registry) -> None:
    """About 100,000 gas for a record; a run's label adds two storage words."""
    assert registry.store(ROOT, "r1").gasUsed < 105_000
    assert registry.store(OTHER, '{"phase":"before_training","run":"20260111-080000"}').gasUsed < 150_000


@dataclass
class Expected:
    """What must stand for ever about one root."""

    info: list[Any]
    submissions: dict[int, list[int]] = field(default_factory=dict)


class NothingEverChanges(RuleBasedStateMachine):
    """Any calls by anyone, with any gaps between them: what was recorded first reads the same ever after."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry()
        self.expected: dict[bytes, Expected] = {}

    @rule(root=st.sampled_from([ROOT, OTHER, b"\xff" * 32]), sender=st.integers(0, 2), metadata=st.text(max_size=40))
    def store(self, root: bytes, sender: int, metadata: str) -> None:
        receipt = self.registry.store(root, metadata, sender)
        time = self.registry.time_of(receipt)
        known = self.expected.setdefault(root, Expected([True, time, metadata]))
        known.submissions.setdefault(sender, [time, receipt.blockNumber])

    @rule()
    def wait(self) -> None:
        self.registry.later()

    @invariant()
    def reads_the_same(self) -> None:
        for root, expected in self.expected.items():
            assert self.registry.read("getHashInfo", root) == expected.info
            for sender, submission in expected.submissions.items():
                account = self.registry.accounts[sender]
                assert self.registry.read("getSubmission", account, root) == submission


NothingEverChanges.TestCase.settings = settings(max_examples=6, stateful_step_count=8, deadline=None)
TestNothingEverChanges = NothingEverChanges.TestCase
