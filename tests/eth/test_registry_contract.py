# SPDX-License-Identifier: MIT
"""MRVRegistry and BatchVerifier in an EVM of the current rules, and their agreement with the Python tree.

What the contracts promise is tested by forge (test_contracts_forge.py); here is what users of the artifacts rely on:
the ABI through web3, storage where proofs look for it, and batches that Python makes and the contract checks.
"""

from __future__ import annotations

import json
import random
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from eth_tester import EthereumTester, PyEVMBackend
from eth_tester.exceptions import TransactionFailed
from web3 import EthereumTesterProvider, Web3
from web3.exceptions import Web3RPCError
from web3.logs import DISCARD

from mrv_backends_eth import contract as mlprovenance
from mrv_backends_eth.keccak import keccak256
from mrv_core.batching import batch_commitment
from mrv_core.errors import VerificationError
from mrv_core.merkle import MAX_TREE_SIZE, LogTree, leaf_hash, root_from_inclusion

PROJECT = Path(__file__).parents[2]
COMPILED = Path(mlprovenance.__file__).parent / "compiled"
ID = "MRV-fc25ba52-f439-4834-be2b-2dbae1e03437"
KEY = keccak256(ID.encode())
HASH = bytes(range(32))
OTHER = b"\x77" * 32
NOBODY = "0x" + "0" * 40


def artifact(name: str) -> dict[str, Any]:
    return json.loads((COMPILED / f"{name}.json").read_text())


class Chain:
    """A fresh chain with all three contracts, called by numbered accounts."""

    def __init__(self) -> None:
        self.tester = EthereumTester(PyEVMBackend())
        self.web3 = Web3(EthereumTesterProvider(self.tester))
        self.accounts = self.web3.eth.accounts
        self.deployment_gas: dict[str, int] = {}
        self.provenance = self.deploy("MLProvenance")
        self.registry = self.deploy("MRVRegistry")
        self.verifier = self.deploy("BatchVerifier", self.provenance.address)

    def deploy(self, name: str, *arguments: Any) -> Any:
        compiled = artifact(name)
        factory = self.web3.eth.contract(abi=compiled["abi"], bytecode=compiled["bytecode"])
        receipt = self.web3.eth.wait_for_transaction_receipt(factory.constructor(*arguments).transact())
        self.deployment_gas[name] = receipt.gasUsed
        return self.web3.eth.contract(address=receipt.contractAddress, abi=compiled["abi"])

    def send(self, call: Any, sender: int = 0) -> Any:
        return self.web3.eth.wait_for_transaction_receipt(call.transact({"from": self.accounts[sender]}))

    def register(self, mrv_id: str, record_hash: bytes, sender: int = 0) -> Any:
        return self.send(self.registry.functions.registerMRV(mrv_id, record_hash), sender)

    def read(self, function: str, *arguments: Any) -> Any:
        return self.registry.functions[function](*arguments).call()

    def time_of(self, receipt: Any) -> int:
        return self.web3.eth.get_block(receipt.blockNumber).timestamp

    def storage(self, slot: bytes, offset: int = 0) -> int:
        position = int.from_bytes(slot, "big") + offset
        return int.from_bytes(self.web3.eth.get_storage_at(self.registry.address, position), "big")


@pytest.fixture(scope="module")
def shared() -> Chain:
    """A chain that tests only read, or store commitments of their own on."""
    return Chain()


@pytest.fixture
def chain() -> Chain:
    return Chain()


def test_deployed_code_is_the_artifacts(shared: Chain) -> None:
    for name, deployed in (("MRVRegistry", shared.registry), ("BatchVerifier", shared.verifier)):
        compiled = artifact(name)
        expected = bytearray.fromhex(compiled["deployedBytecode"][2:])
        for offset in compiled.get("immutableOffsets", []):
            assert expected[offset : offset + 32] == bytes(32)
            expected[offset : offset + 32] = bytes.fromhex(shared.provenance.address[2:]).rjust(32, b"\0")
        assert shared.web3.eth.get_code(deployed.address) == bytes(expected)


def test_the_abi_of_the_first_design_is_kept() -> None:
    """Names, argument types and results that existing callers of an MRVRegistry use."""
    functions = {
        entry["name"]: (
            [each["type"] for each in entry["inputs"]],
            [each["type"] for each in entry["outputs"]],
            entry["stateMutability"],
        )
        for entry in artifact("MRVRegistry")["abi"]
        if entry["type"] == "function"
    }
    assert functions["registerMRV"] == (["string", "bytes32"], [], "nonpayable")
    assert functions["getMRVHash"] == (["string"], ["bytes32", "uint256", "address"], "view")
    assert functions["isMRVRegistered"] == (["string"], ["bool"], "view")
    assert functions["verifyMRVHash"] == (["string", "bytes32"], ["bool"], "view")
    events = {entry["name"] for entry in artifact("MRVRegistry")["abi"] if entry["type"] == "event"}
    assert events == {"MRVRegistered", "MRVQueried"}


def test_registration_reads_back_and_leaves_its_event(chain: Chain) -> None:
    receipt = chain.register(ID, HASH, sender=2)
    account, time = chain.accounts[2], chain.time_of(receipt)
    assert chain.read("getMRVHash", ID) == [HASH, time, account]
    assert chain.read("getMRVHashBy", account, ID) == [HASH, time, receipt.blockNumber]
    assert chain.read("isMRVRegistered", ID) is True
    assert chain.read("verifyMRVHash", ID, HASH) is True
    assert chain.read("verifyMRVHash", ID, OTHER) is False
    assert chain.read("getMRVHash", "MRV-unknown") == [bytes(32), 0, NOBODY]
    (event,) = chain.registry.events.MRVRegistered().process_receipt(receipt, errors=DISCARD)
    assert dict(event.args) == {
        "key": KEY, "submitter": account, "hash": HASH, "mrvId": ID, "timestamp": time,
    }  # fmt: skip


def test_squatter_leaves_the_owners_file_valid(chain: Chain) -> None:
    """The id is copied from the pending call, for another hash and for the same: neither costs the owner anything."""
    squat = chain.register(ID, OTHER, sender=1)
    chain.register(ID, HASH, sender=2)
    receipt = chain.register(ID, HASH, sender=0)
    assert receipt.status == 1
    owner = chain.accounts[0]
    assert chain.read("getMRVHashBy", owner, ID) == [HASH, chain.time_of(receipt), receipt.blockNumber]
    assert chain.read("verifyMRVHash", ID, HASH) is True
    assert chain.read("getMRVHash", ID) == [OTHER, chain.time_of(squat), chain.accounts[1]]
    assert chain.read("firstSubmitterOf", ID, HASH)[0] == chain.accounts[2]
    assert chain.read("submitterCount", ID) == 3


def test_another_hash_by_the_same_account_is_refused_by_name(chain: Chain) -> None:
    chain.register(ID, HASH)
    with pytest.raises(TransactionFailed) as failure:
        chain.register(ID, OTHER)
    assert repr(keccak256(b"OtherHashRegistered(bytes32)")[:4])[2:-1] in str(failure.value)
    assert chain.register(ID, HASH).status == 1


@pytest.mark.parametrize("mrv_id", ["", "MRV 1", "MRV-1\n", "MRV-\u00e9", "MRV-e\u0301", "MRV-\u200b1", "x" * 129])
def test_ids_that_could_be_confused_are_refused(chain: Chain, mrv_id: str) -> None:
    with pytest.raises(TransactionFailed):
        chain.register(mrv_id, HASH)
    assert chain.read("isMRVRegistered", mrv_id) is False


def test_query_leaves_a_trace(chain: Chain) -> None:
    chain.register(ID, HASH)
    receipt = chain.send(chain.registry.functions.queryMRV(ID), sender=3)
    (event,) = chain.registry.events.MRVQueried().process_receipt(receipt, errors=DISCARD)
    assert dict(event.args) == {"key": KEY, "querier": chain.accounts[3], "mrvId": ID, "hash": HASH}


def test_storage_words_are_where_proofs_look_for_them(chain: Chain) -> None:
    """The account's record lies where `MLProvenance` has its submissions, with the id's hash in the root's place."""
    chain.register(ID, OTHER, sender=1)
    receipt = chain.register(ID, HASH, sender=3)
    first, submitter = (bytes.fromhex(chain.accounts[number][2:]) for number in (1, 3))
    slot = mlprovenance.submission_slot(submitter, KEY)
    assert chain.storage(slot) == int.from_bytes(HASH, "big")
    expected = mlprovenance.Submission(chain.time_of(receipt), receipt.blockNumber)
    assert mlprovenance.decode_submission(chain.storage(slot, 1)) == expected
    assert chain.storage(keccak256(KEY + (1).to_bytes(32, "big"))) == 2 << 160 | int.from_bytes(first, "big")
    slot = keccak256(HASH + keccak256(KEY + (2).to_bytes(32, "big")))
    assert chain.storage(slot) == int.from_bytes(submitter, "big")


def test_a_registration_costs_what_the_first_design_promised(chain: Chain) -> None:
    """About 100,000 gas, with the length of id that this project makes."""
    assert chain.register(ID, HASH).gasUsed < 100_000


def test_gas_snapshot_holds_under_current_rules(chain: Chain) -> None:
    """Forge measures under the rules that the contracts are compiled for; prices of today differ by under 1 %."""
    chance = random.Random(20261123)  # noqa: S311
    path = [chance.randbytes(32) for _ in range(20)]
    commitment = commitment_of(chain, OTHER, 0x55555, 2**20, path)
    measured = {
        ("MLProvenance", "storeHash: first, label of 64 B"): chain.send(
            chain.provenance.functions.storeHash(commitment, "x" * 64)
        ),
        ("MRVRegistry", "registerMRV: first, id of 40 B"): chain.register(ID, OTHER),
        ("BatchVerifier", "verifyMember: batch of 2^20"): chain.send(
            chain.verifier.functions.verifyMember(OTHER, 0x55555, 2**20, path)
        ),
    }
    for (contract, call), receipt in measured.items():
        snapshot = json.loads((PROJECT / "contracts" / "snapshots" / f"{contract}.json").read_text())
        assert receipt.gasUsed == pytest.approx(int(snapshot[call]), rel=0.01), call


def test_deployment_costs_what_the_page_says(shared: Chain) -> None:
    page = (PROJECT / "docs" / "contracts.md").read_text()
    documented = dict(re.findall(r"^\| deployment of `(\w+)` \| ([\d,]+) \|", page, re.MULTILINE))
    assert documented == {name: f"{gas:,}" for name, gas in shared.deployment_gas.items()}


def commitment_of(chain: Chain, member: bytes, index: int, size: int, path: list[bytes]) -> bytes | None:
    """Return what the contract computes, or None where it refuses."""
    try:
        return bytes(chain.verifier.functions.commitmentOf(member, index, size, path).call())
    except (TransactionFailed, Web3RPCError):
        return None


def python_commitment(member: bytes, index: int, size: int, path: list[bytes]) -> bytes | None:
    """Return what the Python tree computes, or None where it refuses."""
    try:
        root = root_from_inclusion(leaf_hash(member), index, size, path)
    except VerificationError:
        return None
    return batch_commitment(size, root).value


def path_length(index: int, size: int) -> int:
    """Length of the path by its recursive definition (RFC 9162, section 2.1.3.1)."""
    if size == 1:
        return 0
    split = 1 << (size - 1).bit_length() - 1
    return 1 + (path_length(index, split) if index < split else path_length(index - split, size - split))


def test_small_batches_agree_with_the_python_tree(shared: Chain) -> None:
    """Sizes 1 to 300, a random member of each: 300 cases."""
    chance = random.Random(20261120)  # noqa: S311
    members = [chance.randbytes(32) for _ in range(300)]
    tree = LogTree(members)
    for size in range(1, 301):
        index = chance.randrange(size)
        expected = batch_commitment(size, tree.root(size)).value
        path = tree.inclusion_proof(index, size)
        assert commitment_of(shared, members[index], index, size, path) == expected, (index, size)


def test_large_batches_agree_with_the_python_tree(shared: Chain) -> None:
    """Sizes up to 2**40, and around the largest that there is, with paths that no tree was built for."""
    chance = random.Random(20261121)  # noqa: S311
    sizes = [chance.randrange(1, 2 ** chance.randint(9, 40)) for _ in range(40)]
    sizes += [2**40, 2**40 - 1, 2**40 + 1, 2**32, MAX_TREE_SIZE, 2**62]
    for size in sizes:
        for index in {0, size - 1, chance.randrange(size)}:
            member = chance.randbytes(32)
            path = [chance.randbytes(32) for _ in range(path_length(index, size))]
            expected = python_commitment(member, index, size, path)
            assert expected is not None
            assert commitment_of(shared, member, index, size, path) == expected, (index, size)


def test_what_python_refuses_the_contract_refuses(shared: Chain) -> None:
    """Random numbers and lengths of paths, most of which do not fit each other."""
    chance = random.Random(20261122)  # noqa: S311
    refused = 0
    for _ in range(150):
        size = chance.choice([0, 1, 2, 3, 7, 8, 9, 100, 2**40, MAX_TREE_SIZE, MAX_TREE_SIZE + 1, 2**64 - 1])
        index = chance.choice([0, 1, max(size - 1, 0), min(size, 2**64 - 1), chance.randrange(size + 1)])
        fitting = path_length(index, size) if index < size else 0
        path = [chance.randbytes(32) for _ in range(max(0, fitting + chance.choice([-1, 0, 0, 1])))]
        member = chance.randbytes(32)
        expected = python_commitment(member, index, size, path)
        assert commitment_of(shared, member, index, size, path) == expected, (index, size, len(path))
        refused += expected is None
    assert 50 < refused < 140


def test_commitment_of_a_batch_is_what_its_definition_says(shared: Chain) -> None:
    member = sha256(b"member").digest()
    root = sha256(b"\x00" + member).digest()
    expected = sha256(b"mrv1/batch\x00" + (1).to_bytes(8, "big") + root).digest()
    assert commitment_of(shared, member, 0, 1, []) == expected


def test_members_of_an_anchored_batch_verify(shared: Chain) -> None:
    members = [sha256(bytes([number])).digest() for number in range(21)]
    tree = LogTree(members)
    commitment = batch_commitment(tree.size, tree.root()).value
    verify = shared.verifier.functions.verifyMember
    assert verify(members[13], 13, 21, tree.inclusion_proof(13)).call() == [False, 0]
    time = shared.time_of(shared.send(shared.provenance.functions.storeHash(commitment, '{"batch":"b1"}')))
    for index, member in enumerate(members):
        assert verify(member, index, 21, tree.inclusion_proof(index)).call() == [True, time]
    assert verify(members[12], 13, 21, tree.inclusion_proof(13)).call() == [False, 0]
