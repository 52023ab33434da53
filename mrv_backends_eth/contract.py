# SPDX-License-Identifier: MIT
"""What has to be known about the MLProvenance contract to call it and to read its traces without an EVM.

The source is contracts/MLProvenance.sol; compiled/MLProvenance.json is what contracts/compile.mjs makes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from mrv_backends_eth import rlp
from mrv_backends_eth.keccak import keccak256
from mrv_core.canonical import canonical_bytes, parse_json
from mrv_core.errors import ConfigurationError, FormatError, VerificationError
from mrv_core.hashing import Digest, HashFactory
from mrv_core.models import Metadata

MAX_LABEL_BYTES: Final = 1024
"""Longest metadata text that the contract takes."""

CODE_HASHES: Final = frozenset({bytes.fromhex("82c6c9febae5c1b123ef32d90ed9c0edad676b6a5d20db218abf9ed3dcf556eb")})
"""Code hashes of every released version of the contract; what an older one keeps can be verified for ever."""

STORE_HASH: Final = keccak256(b"storeHash(bytes32,string)")[:4]
"""Selector with which a call of `storeHash` begins."""

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
        return commitment_of(self.root, self.label)


@dataclass(frozen=True, slots=True)
class Submission:
    """What the contract keeps for a submitter and a root: time in seconds since 1970, and block number."""

    timestamp: int
    block_number: int


@cache
def artifact(name: str = "MLProvenance") -> dict[str, Any]:
    """Return a compiled contract: `abi`, `bytecode`, `deployedBytecode` and how they were made.

    Raises:
        ConfigurationError: this project has no such contract.
    """
    if name not in artifact_names():
        hint = f"contracts: {', '.join(artifact_names())}"
        raise ConfigurationError(f"there is no contract {name[:80]!r}", hint=hint)
    data = files("mrv_backends_eth").joinpath("compiled", f"{name}.json").read_bytes()
    parsed: dict[str, Any] = parse_json(data, what=f"compiled/{name}.json")
    return parsed


@cache
def artifact_names() -> tuple[str, ...]:
    """Return the names of the compiled contracts, sorted."""
    found = files("mrv_backends_eth").joinpath("compiled").iterdir()
    return tuple(sorted(entry.name.removesuffix(".json") for entry in found if entry.name.endswith(".json")))


@cache
def code_hash() -> bytes:
    """Return the code hash of the version that this one deploys."""
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


def commitment_of(root: bytes, text: str) -> Digest:
    """Return the commitment that a root and the text beside it stand for; see `label`."""
    name, colon, _ = text.partition(":")
    named = colon and name in HashFactory.algorithms()
    return Digest(name if named else _DEFAULT_ALGORITHM, root)


def decode_store_hash(data: bytes) -> tuple[bytes, str] | None:
    """Return root and text of a call of `storeHash`, or None where the data is anything else.

    Anyone may call the contract with bytes that are no text; those read as replacement characters.
    """
    start = len(STORE_HASH) + 2 * _WORD
    if data[:4] != STORE_HASH or data[36:68] != (2 * _WORD).to_bytes(_WORD, "big") or len(data) < start + _WORD:
        return None
    size = int.from_bytes(data[start : start + _WORD], "big")
    content = data[start + _WORD : start + _WORD + size]
    if len(content) != size or len(data) != start + _WORD + size + -size % _WORD:
        return None
    return data[4:36], content.decode("utf-8", errors="replace")


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
            return decode_event(
                [rlp.as_bytes(name, what="topic") for name in names], rlp.as_bytes(data, what="log data")
            )
    return None


def decode_event(topics: Sequence[bytes], data: bytes) -> HashSubmitted:
    """Read a `HashSubmitted` from a log's topics and data.

    Raises:
        VerificationError: the contract cannot have emitted it.
    """
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
