# SPDX-License-Identifier: MIT
"""The MRVRegistry contract as bytes: calls, events and storage words (contracts/MRVRegistry.sol, docs/contracts.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mrv_backends_eth import rlp
from mrv_backends_eth.keccak import keccak256
from mrv_core.errors import VerificationError
from mrv_core.mrv.record import is_mrv_id

CODE_HASHES: Final = frozenset({bytes.fromhex("2cab374050b2c5e1ac7edb6219507977ef8dc575823760e215e2e1e9272ea5e0")})
"""Code hashes of every released version of the contract; what an older one keeps can be verified for ever."""

REGISTER_MRV: Final = keccak256(b"registerMRV(string,bytes32)")[:4]
"""Selector with which a call of `registerMRV` begins."""

MRV_REGISTERED: Final = keccak256(b"MRVRegistered(bytes32,address,bytes32,string,uint256)")
"""Topic of the event that a `registerMRV` emits, the first time that an account registers an id."""

_WORD: Final = 32
_RECORDS_SLOT, _IDS_SLOT, _ALTERNATES_SLOT = 0, 1, 2


@dataclass(frozen=True, slots=True)
class IdEntry:
    """What the contract keeps of an id: who registered it first (20 bytes, zeros for nobody), and how many have."""

    first_submitter: bytes
    submitters: int


def key_of(mrv_id: str) -> bytes:
    """Return the key under which the contract keeps an id, 32 bytes."""
    return keccak256(mrv_id.encode())


def record_slot(submitter: bytes, key: bytes) -> bytes:
    """Return the storage slot of the hash that a submitter registered (Solidity docs, "Layout of State Variables")."""
    return keccak256(key + keccak256(submitter.rjust(_WORD, b"\0") + _padded(_RECORDS_SLOT)))


def time_slot(submitter: bytes, key: bytes) -> bytes:
    """Return the storage slot of the time and block of that record: the one behind `record_slot`."""
    return (int.from_bytes(record_slot(submitter, key), "big") + 1).to_bytes(_WORD, "big")


def id_slot(key: bytes) -> bytes:
    """Return the storage slot of an `IdEntry`."""
    return keccak256(key + _padded(_IDS_SLOT))


def alternate_slot(key: bytes, value: bytes) -> bytes:
    """Return the storage slot of who first registered a hash that is not the first submitter's."""
    return keccak256(value + keccak256(key + _padded(_ALTERNATES_SLOT)))


def decode_id_entry(word: int) -> IdEntry:
    """Split the packed storage word: bits 0..159 first submitter, bits 160..223 number of submitters."""
    return IdEntry((word & (1 << 160) - 1).to_bytes(20, "big"), word >> 160 & (1 << 64) - 1)


def decode_register_mrv(data: bytes) -> tuple[str, bytes] | None:
    """Return id and hash of a call of `registerMRV`, or None where the data is anything else.

    Data that is not encoded in the one usual way, or an id that the contract refuses, is anything else.
    """
    start = len(REGISTER_MRV) + 2 * _WORD
    if data[:4] != REGISTER_MRV or data[4:36] != _padded(2 * _WORD) or len(data) < start + _WORD:
        return None
    size = int.from_bytes(data[start : start + _WORD], "big")
    name = data[start + _WORD : start + _WORD + size]
    if len(name) != size or len(data) != start + _WORD + size + -size % _WORD or not _is_encoded(name):
        return None
    return name.decode("ascii"), data[36:68]


def decode_registered(topics: Sequence[bytes], data: bytes) -> tuple[bytes, bytes, str]:
    """Read submitter (20 bytes), hash (32 bytes) and id from the topics and data of an `MRVRegistered`.

    Raises:
        VerificationError: the contract cannot have emitted it.
    """
    if len(topics) != 4 or topics[0] != MRV_REGISTERED:
        raise VerificationError(f"MRVRegistered has {len(topics)} topics instead of 4")
    key, submitter, value = (rlp.as_bytes(topic, what="topic", size=_WORD) for topic in topics[1:])
    # ABI encoding of (string, uint256): offset of the text, time, then at the offset its length and bytes.
    start = int.from_bytes(data[:_WORD], "big")
    size = int.from_bytes(data[start : start + _WORD], "big")
    name = data[start + _WORD : start + _WORD + size]
    if len(name) != size or not _is_encoded(name) or keccak256(name) != key:
        raise VerificationError("MRVRegistered names an id that is not that of its key")
    return submitter[-20:], value, name.decode("ascii")


def _is_encoded(name: bytes) -> bool:
    return name.isascii() and is_mrv_id(name.decode("ascii"))


def _padded(number: int) -> bytes:
    return number.to_bytes(_WORD, "big")
