# SPDX-License-Identifier: MIT
"""Headers, transactions, tries, hashes and signatures agree with public vectors and with independent libraries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_keys import keys
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from trie import HexaryTrie
from web3 import Web3

from mrv_backends_eth import contract as mlprovenance
from mrv_backends_eth import rlp, secp256k1, trie
from mrv_backends_eth.headers import Header, read_header
from mrv_backends_eth.keccak import keccak256, keccak256_in_python
from mrv_backends_eth.transactions import Transaction, encode_transaction
from mrv_backends_eth.trie_build import ListTrie
from mrv_backends_eth.values import address_text, data, quantity
from mrv_core.errors import FormatError, VerificationError

WRONG_CHAIN = {"INVALID_CHAINID", "NONCE_TOO_BIG"}
"""Refusals that depend on the chain or its state; the transaction itself is well-formed."""
FORKS = ("Prague", "Cancun", "London")


def answers(vectors: Path, method: str) -> Iterator[tuple[str, Any]]:
    for file in sorted((vectors / "eth-rpc" / method).glob("*.io")):
        for line in file.read_text().splitlines():
            if line.startswith("<< ") and json.loads(line[3:]).get("result"):
                yield file.stem, json.loads(line[3:])["result"]


# Headers and blocks.


def test_headers_of_public_blocks_are_encoded_to_their_hash(vectors: Path) -> None:
    seen = 0
    for name, block in answers(vectors, "eth_getBlockByNumber"):
        raw, header = read_header(block)
        assert header == Header.parse(raw)
        assert "0x" + header.hash.hex() == block["hash"], name
        assert header.base_fee == int(block["baseFeePerGas"], 16)
        assert header.timestamp == int(block["timestamp"], 16)
        seen += 1
    assert seen == 3


def test_every_field_of_a_header_is_part_of_its_hash(vectors: Path) -> None:
    block = dict(answers(vectors, "eth_getBlockByNumber"))["get-latest"]
    raw, _ = read_header(block)
    read = 0
    for field, value in block.items():
        if not isinstance(value, str) or field in ("hash", "size", "totalDifficulty"):
            continue
        changed = value[:-1] + ("0" if value[-1] != "0" else "1")
        with pytest.raises(FormatError):
            read_header({**block, field: changed})
        with pytest.raises(FormatError):
            read_header({**block, field: 1})
        read += 1
    assert read == len(rlp.decode_list(raw, what="header"))


def test_transactions_of_public_blocks_give_the_root_in_the_header(vectors: Path) -> None:
    """The one whole block among the vectors that has its transactions in it."""
    blocks = [
        block for _, block in answers(vectors, "eth_getBlockByNumber") if isinstance(block["transactions"][0], dict)
    ]
    assert blocks
    for block in blocks:
        raw = [encode_transaction(transaction) for transaction in block["transactions"]]
        assert "0x" + ListTrie.build(raw).root.hex() == block["transactionsRoot"]


# Transactions.


def test_public_transactions_of_every_type(vectors: Path) -> None:
    kinds = set()
    for name, value in answers(vectors, "eth_getTransactionByHash"):
        transaction = Transaction.parse(encode_transaction(value))
        kinds.add(transaction.kind)
        assert "0x" + transaction.hash.hex() == value["hash"], name
        assert "0x" + transaction.sender().hex() == value["from"], name
        assert transaction.nonce == int(value["nonce"], 16)
        assert (transaction.to and "0x" + transaction.to.hex()) == value["to"]
    assert kinds == {0, 1, 2, 3}


def test_sender_and_hash_of_public_transactions(vectors: Path) -> None:
    """110 transactions, most of them wrong in one way: each wrong one is refused, each right one is attributed."""
    right = wrong = 0
    for file in sorted((vectors / "eth-tx").glob("*/*.json")):
        (case,) = json.loads(file.read_text()).values()
        expected = next(case["result"][fork] for fork in FORKS if fork in case["result"])
        try:
            transaction = Transaction.parse(bytes.fromhex(case["txbytes"][2:]))
            found = ("0x" + transaction.sender().hex(), "0x" + transaction.hash.hex())
        except (VerificationError, FormatError):
            assert "exception" in expected, file.name
            wrong += 1
            continue
        if "exception" in expected:
            assert expected["exception"].removeprefix("TransactionException.") in WRONG_CHAIN, file.name
        else:
            assert found == (expected["sender"], expected["hash"]), file.name
            right += 1
    assert (right, wrong) == (21, 71)


SIGNED: dict[str, Any] = {"nonce": 7, "gas": 60_000, "to": b"\x11" * 20, "value": 5, "data": b"abc", "chainId": 5042}


@pytest.mark.parametrize(
    ("kind", "price"),
    [
        (0, {"gasPrice": 9}),
        (1, {"gasPrice": 9, "accessList": [{"address": "0x" + "22" * 20, "storageKeys": ["0x" + "33" * 32]}]}),
        (2, {"maxFeePerGas": 9, "maxPriorityFeePerGas": 2}),
    ],
)
def test_what_a_library_signs_is_read_back(kind: int, price: dict[str, Any]) -> None:
    account = Account.from_key("0x" + "a7" * 32)
    signed = account.sign_transaction({**SIGNED, **price})
    transaction = Transaction.parse(bytes(signed.raw_transaction))
    assert transaction.hash == bytes(signed.hash)
    assert (transaction.kind, transaction.chain_id, transaction.nonce) == (kind, 5042, 7)
    assert (transaction.to, transaction.value, transaction.input, transaction.gas) == (b"\x11" * 20, 5, b"abc", 60_000)
    assert (transaction.max_fee, transaction.tip) == (9, 2 if kind == 2 else None)
    assert address_text(transaction.sender()) == account.address


def test_no_truncation_of_a_transaction_is_read() -> None:
    raw = bytes(Account.from_key("0x" + "a7" * 32).sign_transaction({**SIGNED, "gasPrice": 9}).raw_transaction)
    for size in range(len(raw)):
        with pytest.raises((VerificationError, FormatError)):
            Transaction.parse(raw[:size])
    for kind in (*range(3, 0x80), *range(0x80, 0xC0)):
        with pytest.raises((VerificationError, FormatError)):
            Transaction.parse(bytes([kind]) + raw)


# Calls of the contract.


@given(st.binary(min_size=32, max_size=32), st.text(max_size=200))
def test_calls_are_read_as_web3_writes_them(root: bytes, text: str) -> None:
    written = CONTRACT.encode_abi("storeHash", [root, text])
    assert mlprovenance.decode_store_hash(bytes.fromhex(written[2:])) == (root, text)


CONTRACT = Web3().eth.contract(abi=mlprovenance.artifact()["abi"])


def test_calls_that_are_cut_off_or_go_on_are_not_read() -> None:
    written = bytes.fromhex(
        CONTRACT.encode_abi("storeHash", [b"\x01" * 32, "a label of some length, more than a word"])[2:]
    )
    for size in range(len(written)):
        assert mlprovenance.decode_store_hash(written[:size]) is None
    assert mlprovenance.decode_store_hash(written + b"\0") is None
    assert mlprovenance.decode_store_hash(b"\0" + written[1:]) is None
    huge = written[:68] + b"\xff" * 32 + written[100:]
    assert mlprovenance.decode_store_hash(huge) is None


def test_the_deployed_version_is_one_that_is_accepted() -> None:
    assert mlprovenance.code_hash() in mlprovenance.CODE_HASHES


# Hashes, curve, tries, values.


@given(st.binary(max_size=600))
def test_keccak_without_a_library_is_the_same(content: bytes) -> None:
    assert keccak256_in_python(content) == keccak256(content) == bytes(Web3.keccak(content))


def test_keccak_at_every_length_around_a_block() -> None:
    for size in (*range(133, 140), *range(269, 276)):
        assert keccak256_in_python(bytes(range(256)) * 2 if size > 512 else bytes(size)) == bytes(
            Web3.keccak(bytes(size))
        )


@settings(max_examples=25)
@given(st.integers(min_value=1, max_value=secp256k1.ORDER - 1), st.binary(min_size=32, max_size=32))
def test_addresses_and_recovery_agree_with_eth_keys(number: int, digest: bytes) -> None:
    key = keys.PrivateKey(number.to_bytes(32, "big"))
    address = key.public_key.to_canonical_address()
    assert secp256k1.address_of_key(key.to_bytes()) == address
    signature = key.sign_msg_hash(digest)
    assert secp256k1.recover(digest, signature.v, signature.r, signature.s) == address
    for parity, r, s in (
        (2, signature.r, signature.s),
        (signature.v, 0, signature.s),
        (signature.v, signature.r, 0),
        (1 - signature.v, signature.r, secp256k1.ORDER - signature.s),  # the mirrored one, as EIP-2 forbids
        (signature.v, secp256k1.ORDER, signature.s),
    ):
        with pytest.raises(VerificationError):
            secp256k1.recover(digest, parity, r, s)


@pytest.mark.parametrize("number", [1, 2, 3, secp256k1.ORDER - 1, secp256k1.ORDER - 2, 2**255])
def test_addresses_of_keys_at_the_edges(number: int) -> None:
    key = number.to_bytes(32, "big")
    assert address_text(secp256k1.address_of_key(key)) == Account.from_key(key).address


@settings(max_examples=40)
@given(st.lists(st.binary(min_size=1, max_size=60), max_size=150))
def test_tries_of_lists_are_those_of_py_trie(content: list[bytes]) -> None:
    oracle = HexaryTrie({})
    for index, value in enumerate(content):
        oracle[rlp.encode_int(index)] = value
    built = ListTrie.build(content)
    assert built.root == oracle.root_hash
    for index, value in enumerate(content):
        assert trie.verify(built.root, rlp.encode_int(index), built.prove(index)) == value
    assert trie.verify(built.root, rlp.encode_int(len(content)), built.prove(len(content)) if content else []) is None


def depth(item: Any) -> int:
    return 1 + max(map(depth, item), default=0) if isinstance(item, list) else 0


@given(st.recursive(st.binary(max_size=70), lambda inner: st.lists(inner, max_size=6), max_leaves=20))
def test_rlp_is_the_inverse_of_decoding(item: Any) -> None:
    assume(depth(item) <= rlp.MAX_DEPTH)
    assert rlp.decode(rlp.encode(item)) == item


@pytest.mark.parametrize("value", [None, 1, "", "0x", "12", "0xg", "0x" + "1" * 65, "-0x1", "0x-1", [], True])
def test_what_is_no_quantity(value: object) -> None:
    with pytest.raises(FormatError):
        quantity(value, "number")


@pytest.mark.parametrize("value", [None, 1, "", "0x1", "12", "0xgg", b"", [], "0x1_"])
def test_what_is_no_data(value: object) -> None:
    with pytest.raises(FormatError):
        data(value, "bytes")


def test_addresses_are_written_with_their_checksum() -> None:
    """The examples of EIP-55."""
    for text in (
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ):
        assert address_text(bytes.fromhex(text[2:])) == text
