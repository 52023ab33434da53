# SPDX-License-Identifier: MIT
"""Receipts that anyone can make at home, of logs, blocks and chains of their own: right in all but what is asked for.

Nothing here uses the product's code for a format: everything is written from the documentation.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

from Crypto.Hash import keccak
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from eth_account import Account

Item = bytes | list["Item"]
ORIGIN = "example.org/log"
TIME = 1_262_304_000
TIME_TEXT = "2010-01-01T00:00:00Z"
_LOG_KEY = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
_ETH_KEY = "0x" + "07" * 32


def receipt_of(driver: str, network_id: str, commitment: str, reference: str, evidence: Any, **changes: Any) -> Any:
    return {
        "format": "mrv-receipt/1",
        "network": driver,
        "driver": driver,
        "network_id": network_id,
        "embedded": False,
        "commitment": commitment,
        "state": "FINAL",
        "reference": reference,
        "submitted_at": TIME_TEXT,
        "block_time": None,
        "evidence": evidence,
        **changes,
    }


# --- a log of one entry ------------------------------------------------------------------------------------------


def log_key(name: str = ORIGIN) -> str:
    public = b"\x01" + _LOG_KEY.public_key().public_bytes_raw()
    return (
        f"{name}+{sha256(name.encode() + bytes([10]) + public).digest()[:4].hex()}+{base64.b64encode(public).decode()}"
    )


def log_receipt(
    commitment: str,
    *,
    entry: str | None = None,
    name: str = ORIGIN,
    sibling: bytes | None = None,
    change_text: Callable[[str], str] = str,
    change_note: Callable[[str], str] = str,
    change_proof: Callable[[str], str] = str,
) -> Any:
    """Return the receipt of a log of one entry, or of two where a sibling is given.

    The functions change what is signed, then that and the signature, then the whole proof.
    """
    honest = f'{{"commitment":"{commitment}","format":"mrv-log-entry/1","metadata":{{}}}}'
    logged = honest if entry is None else entry
    leaf = sha256(b"\x00" + logged.encode()).digest()
    root = leaf if sibling is None else sha256(b"\x01" + leaf + sibling).digest()
    text = change_text(f"{name}\n{1 if sibling is None else 2}\n{base64.b64encode(root).decode()}\n")
    signature = bytes.fromhex(log_key(name)[len(name) + 1 :][:8]) + _LOG_KEY.sign(text.encode())
    note = change_note(f"{text}\n\u2014 {name} {base64.b64encode(signature).decode()}\n")
    path = "" if sibling is None else f"{base64.b64encode(sibling).decode()}\n"
    proof = change_proof(f"c2sp.org/tlog-proof@v1\nindex 0\n{path}\n{note}")
    evidence = {"format": "mrv-log-evidence/1", "entry": logged, "proof": proof}
    return receipt_of("log", name, commitment, f"{name}#{leaf.hex()}", evidence, embedded=True)


# --- an IPFS block -----------------------------------------------------------------------------------------------


def ipfs_receipt(
    commitment: str, *, block: str | None = None, codec: int = 0x55, prefix: bytes = b"\x01", **changes: Any
) -> Any:
    honest = f'{{"commitment":"{commitment}","format":"mrv-statement/1","metadata":{{}}}}'
    stated = honest if block is None else block
    binary = prefix + bytes([codec, 0x12, 0x20]) + sha256(stated.encode()).digest()
    reference = "b" + base64.b32encode(binary).decode().rstrip("=").lower()
    evidence = {"format": "mrv-ipfs-evidence/1", "block": stated}
    return receipt_of("ipfs", "ipfs", commitment, reference, evidence) | changes


# --- Bitcoin's regtest, where a block costs two hashes -------------------------------------------------------------

REGTEST = "bip122:0f9188f13cb7b2c71f2a335e3a4fc328"


def h(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()


def transaction(
    outputs: Sequence[bytes], *, spent: bytes = b"\x11" * 36, script: bytes = b"", head: bytes = b""
) -> bytes:
    """Write a transaction with one input; `head` stands between version and inputs."""
    written = b"".join(bytes(8) + compact(len(each)) + each for each in outputs)
    inputs = b"\x01" + spent + compact(len(script)) + script + b"\xff" * 4
    return b"\x02\x00\x00\x00" + head + inputs + compact(len(outputs)) + written + bytes(4)


def compact(number: int) -> bytes:
    if number < 0xFD:
        return bytes([number])
    return b"\xfd" + number.to_bytes(2, "little") if number < 1 << 16 else b"\xfe" + number.to_bytes(4, "little")


def coinbase(script: bytes) -> bytes:
    return transaction([b"\x51"], spent=bytes(32) + b"\xff" * 4, script=script)


def payload(commitment: str, code: int = 0x12) -> bytes:
    return bytes([0x6A, 37]) + b"MRV1" + bytes([code]) + bytes.fromhex(commitment.partition(":")[2])


def bitcoin_receipt(
    commitment: str,
    *,
    raw: bytes | None = None,
    first: bytes = coinbase(b"\x03\x00\x00\x10" + bytes(8)),
    height: int = 0x100000,
    bits: int = 0x207FFFFF,
    works: bool = True,
    root: bytes | None = None,
    network_id: str = REGTEST,
    **evidence: Any,
) -> Any:
    """Return the receipt of a block of two transactions; `works` says whether its hash shall meet its target."""
    made = transaction([b"\x51", payload(commitment)]) if raw is None else raw
    target = (bits & 0x7FFFFF) << 8 * ((bits >> 24) - 3)
    for nonce in range(100_000):
        header = bytes(36) + (root or h(h(first) + h(made))) + TIME.to_bytes(4, "little") + bits.to_bytes(4, "little")
        header += nonce.to_bytes(4, "little")
        if (int.from_bytes(h(header), "little") <= target) is works:
            break
    shown = {
        "format": "mrv-evidence-bitcoin/1",
        "transaction": made.hex(),
        "output_index": 1,
        "transaction_index": 1,
        "merkle_branch": [h(first).hex()],
        "coinbase": first.hex(),
        "coinbase_branch": [h(made).hex()],
        "header": header.hex(),
        "block_hash": h(header)[::-1].hex(),
        "height": height,
    }
    reference = h(made)[::-1].hex()
    return receipt_of("bitcoin", network_id, commitment, reference, shown | evidence, block_time=TIME_TEXT)


OTS_HEAD = b"\x00OpenTimestamps\x00\x00Proof\x00\xbf\x89\xe2\xe8\x84\xe8\x92\x94"
OTS_BITCOIN = b"\x00" + bytes.fromhex("0588960d73d71901")


def ots_receipt(commitment: str, *, proof: bytes | None = None, root: bytes | None = None, **evidence: Any) -> Any:
    """Return the receipt of a proof that a block at height 5 has the SHA-256 of the digest as its Merkle root."""
    content = bytes.fromhex(commitment.partition(":")[2])
    written = OTS_HEAD + b"\x01\x08" + content + b"\x08" + OTS_BITCOIN + b"\x01\x05" if proof is None else proof
    merkle_root = sha256(content).digest() if root is None else root
    header = b""
    for nonce in range(1000):
        header = bytes(36) + merkle_root + TIME.to_bytes(4, "little") + (0x207FFFFF).to_bytes(4, "little")
        header += nonce.to_bytes(4, "little")
        if h(header)[31] < 0x80:
            break
    shown = {"height": 5, "block_hash": h(header)[::-1].hex(), "header": header.hex()}
    ots = {"format": "mrv-evidence-ots/1", "ots": written.hex(), **shown, **evidence}
    time = {"block_time": TIME_TEXT if ots["header"] is not None else None}
    return receipt_of("bitcoin", REGTEST, commitment, f"ots:{sha256(written).hexdigest()}", ots, **time)


# --- a chain of Ethereum with one transaction ----------------------------------------------------------------------


def k(data: bytes) -> bytes:
    return keccak.new(digest_bits=256, data=data).digest()


def rlp(item: Item) -> bytes:
    if isinstance(item, list):
        content = b"".join(rlp(each) for each in item)
        return _head(len(content), 0xC0) + content
    return item if len(item) == 1 and item[0] < 0x80 else _head(len(item), 0x80) + item


def _head(size: int, offset: int) -> bytes:
    if size <= 55:
        return bytes([offset + size])
    width = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([offset + 55 + len(width)]) + width


def header_fields(transactions_root: bytes, *, state_root: bytes = bytes(32)) -> list[Item]:
    number, time = b"\x05", TIME.to_bytes(4, "big")
    top: list[Item] = [bytes(32), bytes(32), bytes(20), state_root, transactions_root, bytes(32), bytes(256)]
    return [*top, b"", number, b"\x01", b"", time, b"", bytes(32), bytes(8)]


def signed(commitment: str, *, chain_id: int | None = 31337, kind: int | None = 2, **changes: Any) -> bytes:
    """Return a signed transaction that its sender sends to itself with a commitment as its data."""
    address = Account.from_key(_ETH_KEY).address
    data = b"MRV1" + bytes.fromhex(commitment.partition(":")[2])
    common: dict[str, Any] = {"nonce": 0, "gas": 30000, "to": address, "value": 0, "data": data}
    if kind is None:
        common |= {"gasPrice": 1} | ({} if chain_id is None else {"chainId": chain_id})
    else:
        fees = {"gasPrice": 1, "accessList": []} if kind == 1 else {"maxFeePerGas": 1, "maxPriorityFeePerGas": 1}
        common |= {"chainId": chain_id, "type": kind, **fees}
    return bytes(Account.from_key(_ETH_KEY).sign_transaction(common | changes).raw_transaction)


def leaf_of(value: bytes, *, path: bytes = b"\x20\x80") -> bytes:
    """Return the trie's node for the transaction with index 0, whose key is 80."""
    return rlp([path, value])


def calldata_receipt(
    commitment: str,
    *,
    raw: bytes | None = None,
    nodes: Sequence[bytes] | None = None,
    root: bytes | None = None,
    header: Callable[[list[Item]], bytes] = rlp,
    **evidence: Any,
) -> Any:
    made = signed(commitment) if raw is None else raw
    proof = [leaf_of(made)] if nodes is None else list(nodes)
    encoded = header(header_fields(k(proof[0]) if root is None else root))
    shown = {
        "format": "mrv-evidence-ethereum-calldata/1",
        "block_number": 5,
        "block_hash": "0x" + k(encoded).hex(),
        "header": "0x" + encoded.hex(),
        "transaction_index": 0,
        "transaction_proof": ["0x" + node.hex() for node in proof],
    }
    reference = f"0x{k(made).hex()}"
    return receipt_of("ethereum", "eip155:31337", commitment, reference, shown | evidence, block_time=TIME_TEXT)
