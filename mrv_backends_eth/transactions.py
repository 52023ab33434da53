# SPDX-License-Identifier: MIT
"""Signed transactions of every type up to Prague: from a node's JSON to their bytes, and from bytes to their fields.

A transaction is a type byte and an RLP list (EIP-2718), or for the oldest type only the list. Its hash is the
Keccak-256 of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mrv_backends_eth import rlp, secp256k1, values
from mrv_backends_eth.keccak import keccak256
from mrv_core.errors import FormatError, VerificationError

_FIELDS: Final[Mapping[int, tuple[str, ...]]] = {
    0: ("nonce", "gasPrice", "gas", "to", "value", "input", "v", "r", "s"),
    1: ("chainId", "nonce", "gasPrice", "gas", "to", "value", "input", "accessList", "yParity", "r", "s"),
    2: (
        *("chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas", "to", "value", "input", "accessList"),
        *("yParity", "r", "s"),
    ),
    3: (
        *("chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas", "to", "value", "input", "accessList"),
        *("maxFeePerBlobGas", "blobVersionedHashes", "yParity", "r", "s"),
    ),
    4: (
        *("chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas", "to", "value", "input", "accessList"),
        *("authorizationList", "yParity", "r", "s"),
    ),
}
"""Fields in their order, by type: EIP-155, EIP-2930, EIP-1559, EIP-4844, EIP-7702. JSON calls them so, too."""
_SIGNATURE: Final = 3
_LISTS: Final = ("accessList", "blobVersionedHashes", "authorizationList")
_BYTES: Final = ("to", "input")


class UnknownTypeError(FormatError):
    """A type of transaction that this version does not know."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """A signed transaction.

    Attributes:
        raw: Its bytes, as they are sent and as a block's trie has them.
        hash: Keccak-256 of them.
        kind: Type, 0 to 4.
        chain_id: EIP-155 chain id that the signature binds it to; None where it binds it to none.
        nonce: Place among the sender's transactions.
        to: Receiver, 20 bytes; None where it creates a contract.
        value: Wei that it moves.
        input: Data for the receiver.
        gas: Most gas that it may use.
        max_fee: Most wei for a unit of gas; of the types 0 and 1 the price itself.
        tip: Most wei of it for whoever makes the block; None for the types 0 and 1.
    """

    raw: bytes
    hash: bytes
    kind: int
    chain_id: int | None
    nonce: int
    to: bytes | None
    value: int
    input: bytes
    gas: int
    max_fee: int
    tip: int | None

    @classmethod
    def parse(cls, raw: bytes) -> Transaction:
        """Read a signed transaction.

        Raises:
            UnknownTypeError: of a type that this version does not know.
            VerificationError: malformed.
        """
        kind, found = _split(raw)
        data = {name: rlp.as_bytes(found[name], what=name) for name in _BYTES}
        if len(data["to"]) not in (0, 20):
            raise VerificationError("a transaction's receiver is not an address")
        number = {name: rlp.as_int(item, what=name) for name, item in found.items() if name not in (*_BYTES, *_LISTS)}
        return cls(
            raw=raw,
            hash=keccak256(raw),
            kind=kind,
            chain_id=number["chainId"] if kind else _chain_of(number["v"]),
            nonce=number["nonce"],
            to=data["to"] or None,
            value=number["value"],
            input=data["input"],
            gas=number["gas"],
            max_fee=number["maxFeePerGas"] if kind > 1 else number["gasPrice"],
            tip=number["maxPriorityFeePerGas"] if kind > 1 else None,
        )

    def sender(self) -> bytes:
        """Return the address, 20 bytes, whose key signed it. Takes some milliseconds.

        Raises:
            VerificationError: the signature belongs to no key.
        """
        _, found = _split(self.raw)
        items = list(found.values())
        r, s = (rlp.as_int(item, what="signature") for item in items[-2:])
        mark = rlp.as_int(items[-_SIGNATURE], what="signature")
        unsigned = items[:-_SIGNATURE]
        if self.kind:
            signed = bytes([self.kind]) + rlp.encode(unsigned)
            return secp256k1.recover(keccak256(signed), mark, r, s)
        if self.chain_id is None:
            return secp256k1.recover(keccak256(rlp.encode(unsigned)), mark - 27, r, s)
        signed = rlp.encode([*unsigned, rlp.int_bytes(self.chain_id), b"", b""])
        return secp256k1.recover(keccak256(signed), mark - 35 - 2 * self.chain_id, r, s)


def encode_transaction(value: Any) -> bytes:
    """Return the bytes of the transaction in a node's JSON.

    Raises:
        UnknownTypeError: of a type that this version does not know.
        FormatError: malformed, or what results has not the hash that the JSON names.
    """
    found = values.fields(value, "transaction")
    kind = values.quantity(found.get("type", "0x0"), "type")
    if kind not in _FIELDS:
        raise UnknownTypeError(f"transactions of type {kind} are not known")
    raw = rlp.encode([_item(found, name) for name in _FIELDS[kind]])
    raw = bytes([kind]) + raw if kind else raw
    if keccak256(raw) != values.data(found.get("hash"), "transaction hash", 32):
        raise FormatError("the fields of a transaction do not hash to its hash")
    return raw


def _split(raw: bytes) -> tuple[int, dict[str, rlp.Item]]:
    if not raw:
        raise VerificationError("a transaction is empty")
    kind = raw[0] if raw[0] < 0x80 else 0
    if kind not in _FIELDS or raw[0] == 0:
        raise UnknownTypeError(f"transactions of type {raw[0]} are not known")
    names = _FIELDS[kind]
    items = rlp.decode_list(raw[1:] if kind else raw, what="transaction", length=len(names))
    return kind, dict(zip(names, items, strict=True))


def _chain_of(v: int) -> int | None:
    if v >= 35:
        return (v - 35) // 2
    if v not in (27, 28):
        raise VerificationError("the transaction's signature is out of range")
    return None


def _item(found: Mapping[str, Any], name: str) -> rlp.Item:
    if name == "to":
        return b"" if found.get(name) is None else values.data(found[name], name, 20)
    if name == "input":
        return values.data(found.get(name), name)
    if name == "yParity":
        return _number(found, name if found.get(name) is not None else "v")
    if name in _LISTS:
        return _list(found.get(name), name)
    return _number(found, name)


def _number(found: Mapping[str, Any], name: str) -> bytes:
    return rlp.int_bytes(values.quantity(found.get(name), name))


def _list(value: Any, name: str) -> rlp.Item:
    if not isinstance(value, list):
        raise FormatError(f"{name} is no list")
    if name == "blobVersionedHashes":
        return [values.data(item, name, 32) for item in value]
    entries = [values.fields(item, name) for item in value]
    if name == "accessList":
        return [[values.data(entry.get("address"), name, 20), _keys(entry.get("storageKeys"))] for entry in entries]
    return [
        [
            _number(entry, "chainId"),
            values.data(entry.get("address"), name, 20),
            *(_number(entry, field) for field in ("nonce", "yParity", "r", "s")),
        ]
        for entry in entries
    ]


def _keys(value: Any) -> rlp.Item:
    if not isinstance(value, list):
        raise FormatError("storageKeys is no list")
    return [values.data(item, "storageKeys", 32) for item in value]
