# SPDX-License-Identifier: MIT
"""The IPFS driver: one raw block for each anchor, in an offline block store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar, Final

from mrv_backends_ipfs.cid import RAW, Cid
from mrv_backends_ipfs.evidence import IpfsEvidence, check_evidence, encode_statement, parse_statement
from mrv_backends_ipfs.settings import IpfsSettings
from mrv_backends_ipfs.store import BlockStore
from mrv_core.driver import EMBEDDED, Capabilities, DriverContext
from mrv_core.errors import (
    AnchorNotFoundError,
    BackendError,
    ConfigurationError,
    FormatError,
    SubmissionRejectedError,
    VerificationError,
)
from mrv_core.hashing import Digest
from mrv_core.models import DriverStatus, Metadata, Prepared, Receipt, ReceiptState, VerifiedAnchor

NETWORK_ID: Final = "ipfs"
"""There is one IPFS: a CID means the same bytes everywhere."""

_TRUSTS: Final = (
    "A CID shows which bytes were meant, not since when they exist.",
    "The offline block store is kept by this folder alone; nobody else vouches that the block stays available.",
)


class IpfsDriver:
    """Anchors in an offline block store whose archives any IPFS node can import.

    Raises:
        ConfigurationError: `url` names a node instead of the offline block store.
    """

    name: ClassVar[str] = "ipfs"

    def __init__(self, context: DriverContext) -> None:
        settings: IpfsSettings = context.settings
        if settings.url != EMBEDDED:
            raise ConfigurationError(
                f"network {context.network!r}: this version writes an offline block store and talks to no IPFS node",
                hint=f'set "url" to "{EMBEDDED}" and import the archives it writes with "ipfs dag import"',
            )
        self.capabilities = Capabilities(attests_time=False, embedded=True)
        self._network = context.network
        self._store = BlockStore(context.store_dir / os.path.expanduser(settings.path or ""))

    def prepare(self, commitment: Digest, metadata: Metadata) -> Prepared:
        """Build the statement block; the reference is its CID.

        Raises:
            FormatError: metadata that JSON cannot carry exactly, or more than one block holds.
        """
        block = encode_statement(commitment, metadata)
        return Prepared(
            network=self._network, commitment=commitment, reference=str(Cid.of(block)), payload_hex=block.hex()
        )

    def submit(self, prepared: Prepared) -> Receipt:
        """Store the block and its archive, read it back, and return the receipt.

        Raises:
            SubmissionRejectedError: the prepared bytes are not the block that their reference names.
            StorageError: no permission or no space.
        """
        cid, block = _check_prepared(prepared)
        self._store.put(cid, block)
        return self.lookup(prepared.reference)

    def lookup(self, reference: str) -> Receipt:
        """Find an anchor from a CID in any spelling.

        Raises:
            FormatError: not a CID with a full sha2-256 multihash.
            AnchorNotFoundError: the store has no such block, or it is no statement.
            BackendUnavailableError: the store is not there or cannot be read.
            VerificationError: the stored bytes have another CID.
        """
        cid = Cid.parse(reference)
        block = self._read(cid)
        try:
            statement = parse_statement(block)
        except FormatError as error:
            raise AnchorNotFoundError(f"block {cid} is not an anchor: {error.message}") from error
        return Receipt(
            network=self._network,
            driver=self.name,
            network_id=NETWORK_ID,
            embedded=True,
            commitment=statement.commitment,
            state=ReceiptState.FINAL,
            reference=str(cid),
            submitted_at=self._store.stored_at(cid),
            evidence=IpfsEvidence(format="mrv-ipfs-evidence/1", block=block.decode("utf-8")).to_json(),
        )

    def upgrade(self, receipt: Receipt) -> Receipt:
        """Look again; a stored block has no better evidence to wait for.

        Raises:
            VerificationError: the block states another commitment than the receipt.
            MrvError: whatever `lookup` raises.
        """
        fresh = self.lookup(receipt.reference)
        if fresh.commitment != receipt.commitment:
            raise VerificationError(
                f"block {fresh.reference} states {fresh.commitment}, but its receipt claims {receipt.commitment}"
            )
        return fresh.model_copy(update={"submitted_at": receipt.submitted_at})

    def verify(self, receipt: Receipt, commitment: Digest) -> VerifiedAnchor:
        """Check a receipt and the stored block.

        1. The receipt makes no claim that this network cannot keep, and is about this commitment.
        2. Its evidence is a block with the receipt's CID that states the commitment (needs no store).
        3. The store has that block, with those bytes.

        Raises:
            VerificationError: any of the claims, the evidence or the stored bytes is wrong.
            AnchorNotFoundError: the store does not have the block.
            BackendUnavailableError: the store is not there or cannot be read.
        """
        self._check_claims(receipt, commitment)
        cid, block, statement = check_evidence(receipt.evidence, receipt.reference, commitment)
        self._read(cid)  # recomputes the CID, so equal CIDs are equal bytes
        return VerifiedAnchor(
            network=self._network,
            network_id=NETWORK_ID,
            reference=receipt.reference,
            commitment=commitment,
            state=ReceiptState.FINAL,
            facts={"block_bytes": len(block), "metadata": statement.metadata},
            trusts=_TRUSTS,
        )

    def status(self) -> DriverStatus:
        """Say whether blocks can be stored, without creating anything."""
        try:
            count = len(self._store.cids()) if self._store.exists() else 0
            ready = _can_be_written(self._store.folder)
            detail = f"offline block store, {count} blocks" if ready else f"cannot write into {self._store.folder}"
        except BackendError as error:
            detail, ready = error.message, False
        return DriverStatus(
            network=self._network,
            driver=self.name,
            network_id=NETWORK_ID,
            embedded=True,
            ready=ready,
            detail=detail,
        )

    def close(self) -> None:
        """Nothing is held open."""

    def _read(self, cid: Cid) -> bytes:
        block = self._store.get(cid)
        if block is None:
            raise AnchorNotFoundError(
                f"the block store has no block {cid}",
                hint="a block that nobody keeps is gone; import its archive again if you have it",
            )
        return block

    def _check_claims(self, receipt: Receipt, commitment: Digest) -> None:
        claims = {
            "network": (receipt.network, self._network),
            "driver": (receipt.driver, self.name),
            "network_id": (receipt.network_id, NETWORK_ID),
            "embedded": (receipt.embedded, True),
            "block_time": (receipt.block_time, None),
            "commitment": (receipt.commitment, commitment),
        }
        for claim, (claimed, actual) in claims.items():
            if claimed != actual:
                raise VerificationError(f"the receipt claims {claim} {claimed}, but it is {actual}")


def _check_prepared(prepared: Prepared) -> tuple[Cid, bytes]:
    try:
        block = bytes.fromhex(prepared.payload_hex)
        statement = parse_statement(block)
    except ValueError as error:  # FormatError is one too
        raise SubmissionRejectedError(f"the prepared bytes are not a statement block: {error}") from error
    cid = Cid.of(block, RAW)
    if str(cid) != prepared.reference or statement.commitment != prepared.commitment:
        raise SubmissionRejectedError(
            f"the prepared block is {cid} for {statement.commitment}, "
            f"not {prepared.reference[:80]} for {prepared.commitment}"
        )
    return cid, block


def _can_be_written(folder: Path) -> bool:
    """Whether the folder, or the nearest one above it that exists, takes new files."""
    existing = next(path for path in (folder, *folder.absolute().parents) if os.path.exists(path))
    return os.path.isdir(existing) and os.access(existing, os.W_OK | os.X_OK)
