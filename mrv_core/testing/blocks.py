# SPDX-License-Identifier: MIT
"""What a `MemoryChain` is made of: payloads, the anchors that hold them, and blocks that bind their parent."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from pydantic import Field

from mrv_core.hashing import length_prefixed
from mrv_core.models import DigestField, Json, Model


class Payload(Model):
    """What one anchor puts on the chain; its canonical bytes are what is sent.

    Attributes:
        commitment: What is anchored.
        metadata: Public facts beside it.
        sender: Who pays for it.
        slot: What it uses up, as a nonce or a coin: of all anchors with one slot, one at most is ever in a block.
        fee: What it pays, in units of the chain.
    """

    commitment: DigestField
    metadata: dict[str, Json]
    sender: str
    slot: str
    fee: int = Field(ge=0, lt=2**53)


@dataclass(frozen=True, slots=True)
class Block:
    """Header of a block.

    Attributes:
        number: Zero-based height.
        branch: How many reorgs had happened before it, so that a block mined again is another block.
        parent: Hash of the block before it, 32 bytes; zeros below the first.
        time: Unix seconds, never before the parent's.
        size: Number of anchors in it.
        root: RFC 9162 root over their payloads, 32 bytes.
    """

    number: int
    branch: int
    parent: bytes
    time: int
    size: int
    root: bytes

    def hash(self, network_id: str) -> bytes:
        """Return the block's hash, which binds the network and every field."""
        numbers = b"".join(n.to_bytes(8, "big") for n in (self.number, self.branch, self.time, self.size))
        return sha256(
            b"mrv-memory-block" + length_prefixed(network_id.encode()) + numbers + self.parent + self.root
        ).digest()


@dataclass(frozen=True, slots=True)
class ChainAnchor:
    """An anchor as the chain holds it.

    Attributes:
        reference: Its id.
        payload: The bytes that were sent.
        submitted_at: When they were first taken, in Unix seconds.
        waited: Blocks mined since then, where it is still in the mempool.
        block: Header of the including block; None in the mempool.
        position: Zero-based position in the block.
        path: Inclusion path from the payload to the block's root, 32 bytes each.
        confirmations: Blocks counting the including one; 0 in the mempool.
    """

    reference: str
    payload: bytes
    submitted_at: int
    waited: int = 0
    block: Block | None = None
    position: int = 0
    path: tuple[bytes, ...] = ()
    confirmations: int = 0


def reference_of(payload: bytes) -> str:
    """Return the id of an anchor: 64 hexadecimal digits that only these bytes have."""
    return sha256(b"mrv-memory-anchor" + payload).hexdigest()
