# SPDX-License-Identifier: MIT
"""Trie proofs agree with py-trie, with the public eth_getProof vectors, and survive no change at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import rlp as pyrlp
from hypothesis import given, settings
from hypothesis import strategies as st
from trie import HexaryTrie

from mrv_backends_eth import rlp, trie
from mrv_backends_eth.keccak import keccak256
from mrv_core.errors import VerificationError

VALUES = st.binary(min_size=1, max_size=50)
# Short keys share prefixes and end inside branches; 32-byte keys are what state and storage tries have.
KEYS = st.binary(min_size=1, max_size=3) | st.binary(min_size=1, max_size=1).map(lambda b: b.ljust(32, b"\0"))


def build(content: dict[bytes, bytes]) -> HexaryTrie:
    built = HexaryTrie({})
    for key, value in content.items():
        built[key] = value
    return built


def bit_flips(nodes: list[bytes]) -> Iterator[list[bytes]]:
    for number, node in enumerate(nodes):
        for bit in range(8 * len(node)):
            changed = bytearray(node)
            changed[bit // 8] ^= 1 << bit % 8
            yield [*nodes[:number], bytes(changed), *nodes[number + 1 :]]


def assert_refused(root: bytes, key: bytes, nodes: list[bytes]) -> None:
    with pytest.raises(VerificationError):
        trie.verify(root, key, nodes)


def test_keccak_is_ethereums() -> None:
    assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert keccak256(rlp.encode_int(0)) == trie.EMPTY_ROOT == HexaryTrie({}).root_hash


@settings(max_examples=200)
@given(st.dictionaries(KEYS, VALUES, max_size=40), KEYS)
def test_agrees_with_py_trie(content: dict[bytes, bytes], absent: bytes) -> None:
    oracle = build(content)
    for key in [*content, absent]:
        value, proof = trie.prove(oracle.root_hash, key, oracle.db.__getitem__)
        assert value == content.get(key)
        # py-trie's own proof lists inlined nodes again; ours lists what is hashed, as eth_getProof does.
        hashed = [node for node in map(pyrlp.encode, oracle.get_proof(key)) if len(node) >= 32]
        assert proof == hashed or (proof and len(proof[0]) < 32)
        assert trie.verify(oracle.root_hash, key, proof) == content.get(key)


@settings(max_examples=50)
@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=20), st.data())
def test_a_proof_for_one_key_says_nothing_about_another(content: dict[bytes, bytes], data: st.DataObject) -> None:
    oracle = build(content)
    mine, other = data.draw(st.sampled_from(sorted(content))), data.draw(KEYS)
    _, proof = trie.prove(oracle.root_hash, mine, oracle.db.__getitem__)
    try:
        assert trie.verify(oracle.root_hash, other, proof) == content.get(other)
    except VerificationError:
        return


@settings(max_examples=30)
@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=12), st.data())
def test_every_change_of_a_proof_is_refused(content: dict[bytes, bytes], data: st.DataObject) -> None:
    oracle = build(content)
    key = data.draw(st.sampled_from(sorted(content)) | KEYS)
    _, proof = trie.prove(oracle.root_hash, key, oracle.db.__getitem__)
    for changed in bit_flips(proof):
        assert_refused(oracle.root_hash, key, changed)
    for number in range(len(proof)):
        assert_refused(oracle.root_hash, key, proof[:number] + proof[number + 1 :])
        assert_refused(oracle.root_hash, key, [*proof[:number], proof[number], *proof[number:]])
    assert_refused(oracle.root_hash, key, [*proof, b""])
    assert_refused(bytes(32), key, proof)


@pytest.mark.parametrize(
    ("key", "node"),
    [
        (b"", [b""] * 16),
        (b"", [b"\x20"]),
        (b"", [b"", b"no prefix"]),
        (b"", [b"\x40", b"no such flag"]),
        (b"", [b"\x21", b"padding is not zero"]),
        (b"\0", [b"\x00", b"\x11" * 32]),  # an extension by nothing
        (b"", [[], b"path is a list"]),
        (b"", [b"\x20", [b"value is a list"]]),
        (b"\0", [b"neither hash nor node"] * 17),
        (b"", b"no list at all"),
    ],
)
def test_malformed_nodes_are_refused(key: bytes, node: object) -> None:
    data = pyrlp.encode(node)
    assert_refused(keccak256(data), key, [data])


class GetProof:
    """One vector of ethereum/execution-apis, with the state root of the block it was asked at."""

    def __init__(self, folder: Path, name: str) -> None:
        lines = folder.joinpath(name).read_text().splitlines()
        reply = next(json.loads(line[3:]) for line in lines if line.startswith("<< "))["result"]
        self.address = bytes.fromhex(reply["address"][2:])
        self.account_proof = [bytes.fromhex(node[2:]) for node in reply["accountProof"]]
        fields = (int(reply["nonce"], 16), int(reply["balance"], 16), reply["storageHash"], reply["codeHash"])
        self.account = [number.to_bytes((number.bit_length() + 7) // 8, "big") for number in fields[:2]]
        self.account += [bytes.fromhex(text[2:]) for text in fields[2:]]
        self.storage = reply["storageProof"]
        self.state_root = last_state_root(folder / "chain.rlp")


def last_state_root(path: Path) -> bytes:
    data, position, last = path.read_bytes(), 0, b""
    while position < len(data):
        block, _, position = pyrlp.codec.consume_item(data, position)
        last = block[0][3]
    return last


@pytest.fixture(scope="module", params=["get-account-proof-with-storage.io", "get-account-proof-default-block.io"])
def vector(request: pytest.FixtureRequest, vectors: Path) -> GetProof:
    return GetProof(vectors / "eip1186", request.param)


def test_public_vectors_verify(vector: GetProof) -> None:
    value = trie.verify(vector.state_root, keccak256(vector.address), vector.account_proof)
    assert value is not None
    assert rlp.decode_list(value, what="account", length=4) == vector.account
    for entry in vector.storage:
        slot = int(entry["key"], 16).to_bytes(32, "big")
        proof = [bytes.fromhex(node[2:]) for node in entry["proof"]]
        found = trie.verify(vector.account[2], keccak256(slot), proof)
        assert found is not None
        assert rlp.as_int(rlp.decode(found), what="value") == int(entry["value"], 16)


def test_no_changed_bit_of_a_public_vector_is_accepted(vector: GetProof) -> None:
    changes = 0
    for changed in bit_flips(vector.account_proof):
        assert_refused(vector.state_root, keccak256(vector.address), changed)
        changes += 1
    for entry in vector.storage:
        slot = int(entry["key"], 16).to_bytes(32, "big")
        for changed in bit_flips([bytes.fromhex(node[2:]) for node in entry["proof"]]):
            assert_refused(vector.account[2], keccak256(slot), changed)
            changes += 1
    assert changes > 1000
