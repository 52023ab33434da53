# SPDX-License-Identifier: MIT
"""What has to be known about the MLProvenance contract to read its traces without an EVM.

The source is contracts/MLProvenance.sol; compiled/MLProvenance.json is what contracts/compile.mjs makes of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from mrv_backends_eth import rlp
from mrv_backends_eth.keccak import keccak256
from mrv_core.canonical import canonical_bytes, parse_json
from mrv_core.errors import FormatError, VerificationError
from mrv_core.hashing import Digest, HashFactory
from mrv_core.models import Metadata

MAX_LABEL_BYTES: Final = 1024
"""Longest metadata text that the contract takes."""

HASH_SUBMITTED: Final = keccak256(b"HashSubmitted(bytes32,address,string,uint256)")
"""Topic of the event that every successful `storeHash` emits."""

_SUBMISSIONS_SLOT = 0
_DEFAULT_ALGORITHM = "sha256"
_WORD = 32


@dataclass(frozen=True, slots=True)
class HashSubmitted:
    """One event: `submitter` (20 bytes) stated `root` (32 bytes) and said `label` about it."""

    root: bytes
    submitter: bytes
    label: str

    @property
    def commitment(self) -> Digest:
        """The root with the hash algorithm that the label names."""
        name, colon, _ = self.label.partition(":")
        named = colon and name in HashFactory.algorithms()
        return Digest(name if named else _DEFAULT_ALGORITHM, self.root)


@dataclass(frozen=True, slots=True)
class Submission:
    """What the contract keeps for a submitter and a root: time in seconds since 1970, and block number."""

    timestamp: int
    block_number: int


@cache
def artifact() -> dict[str, Any]:
    """Return the compiled contract: `abi`, `bytecode`, `deployedBytecode` and how they were made."""
    data = files("mrv_backends_eth").joinpath("compiled", "MLProvenance.json").read_bytes()
    parsed: dict[str, Any] = parse_json(data, what="compiled/MLProvenance.json")
    return parsed


@cache
def code_hash() -> bytes:
    """Return the code hash an account must have to be this contract."""
    return keccak256(bytes.fromhex(artifact()["deployedBytecode"].removeprefix("0x")))


def label(commitment: Digest, metadata: Metadata) -> str:
    """Write the text that goes on chain along with a root.

    It is the metadata's canonical JSON, or nothing where there is no metadata. The contract keeps 32 bytes and no
    algorithm, so any but SHA-256, which every tree of this project uses, is named in front: `blake3:{…}`.

    Raises:
        FormatError: metadata that JSON cannot carry, or longer than the contract takes.
    """
    text = canonical_bytes(dict(metadata)).decode() if metadata else ""
    if commitment.algorithm != _DEFAULT_ALGORITHM:
        text = f"{commitment.algorithm}:{text}"
    size = len(text.encode())
    if size > MAX_LABEL_BYTES:
        raise FormatError(
            f"metadata is {size} bytes; the contract takes {MAX_LABEL_BYTES}",
            hint="anchor a run id and a phase, and keep the rest in the run's own files",
        )
    return text


def submission_slot(submitter: bytes, root: bytes) -> bytes:
    """Return the storage slot of `_submissions[submitter][root]` (Solidity docs, "Layout of State Variables")."""
    inner = keccak256(submitter.rjust(_WORD, b"\0") + _SUBMISSIONS_SLOT.to_bytes(_WORD, "big"))
    return keccak256(root + inner)


def decode_submission(word: int) -> Submission:
    """Split the packed storage word: bits 0..63 block time, bits 64..127 block number."""
    return Submission(timestamp=word & (1 << 64) - 1, block_number=word >> 64)


def find_submission(receipt: bytes, contract: bytes) -> HashSubmitted | None:
    """Return the first `HashSubmitted` in an encoded transaction receipt (EIP-2718), or None.

    None too where the transaction failed: its logs are gone.

    Raises:
        VerificationError: not a transaction receipt, or an event that the contract cannot have emitted.
    """
    payload = receipt[1:] if receipt[:1] < b"\x80" else receipt
    status, _, _, logs = rlp.decode_list(payload, what="transaction receipt", length=4)
    if rlp.as_int(status, what="status") != 1:
        return None
    for log in rlp.as_list(logs, what="logs"):
        address, topics, data = rlp.as_list(log, what="log", length=3)
        names = rlp.as_list(topics, what="topics")
        if address == contract and names[:1] == [HASH_SUBMITTED]:
            return _decode_event(names, rlp.as_bytes(data, what="log data"))
    return None


def _decode_event(topics: list[rlp.Item], data: bytes) -> HashSubmitted:
    if len(topics) != 3:
        raise VerificationError(f"HashSubmitted has {len(topics)} topics instead of 3")
    root, submitter = (rlp.as_bytes(topic, what="topic", size=_WORD) for topic in topics[1:])
    # ABI encoding of (string, uint256): offset of the text, time, then at the offset its length and bytes.
    start = int.from_bytes(data[:_WORD], "big")
    size = int.from_bytes(data[start : start + _WORD], "big")
    text = data[start + _WORD : start + _WORD + size]
    if len(text) != size:
        raise VerificationError("HashSubmitted is cut off")
    # Anyone may call the contract, with bytes that are no text; that is no reason to distrust the event.
    return HashSubmitted(root, submitter[-20:], text.decode("utf-8", errors="replace"))
