# SPDX-License-Identifier: MIT
"""The transparency log driver: entries in an append-only tree, receipts that are signed checkpoints."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Final

import cryptography  # noqa: F401  a missing extra is told when the driver is built, not when it first signs

from mrv_backends_log.audit import check_entry, check_extends, check_log
from mrv_backends_log.checkpoint import Checkpoint, TlogProof
from mrv_backends_log.evidence import (
    LogEvidence,
    check_evidence,
    encode_entry,
    parse_entry,
    parse_reference,
    reference_of,
)
from mrv_backends_log.keys import KeyFiles
from mrv_backends_log.note import SigningKey, VerifierKey
from mrv_backends_log.settings import LogSettings
from mrv_backends_log.store import EntryRow, LogReader, LogStore, LogWriter
from mrv_backends_log.witness import Witness
from mrv_core.driver import Capabilities, DriverContext
from mrv_core.errors import (
    AnchorNotFoundError,
    BackendUnavailableError,
    ConfigurationError,
    FormatError,
    MrvError,
    StorageError,
    SubmissionRejectedError,
    VerificationError,
)
from mrv_core.files import make_folder
from mrv_core.hashing import Digest
from mrv_core.merkle import leaf_hash
from mrv_core.models import (
    DriverStatus,
    Metadata,
    Prepared,
    Receipt,
    ReceiptState,
    VerifiedAnchor,
    format_time,
    utc_now,
)

_TRUSTS_NO_TIME: Final = (
    "A checkpoint shows content and order, not time; when it was submitted is this machine's claim."
)
_TRUSTS_OPERATOR: Final = (
    "No independent witness cosigns the log: whoever holds its signing key could show others a different log."
)
_TRUSTS_FOLDER: Final = (
    "The verifier key comes from the log's own folder: whoever can write there could replace log and key together. "
    "Set verifier_key to a copy kept elsewhere."
)


class LogDriver:
    """Anchors in a transparency log inside a folder.

    Raises:
        ConfigurationError: `verifier_key` is no verifier key, or is not of the log that `origin` names.
    """

    name: ClassVar[str] = "log"

    def __init__(self, context: DriverContext) -> None:
        settings: LogSettings = context.settings
        self.capabilities = Capabilities(attests_time=False, embedded=True)
        self._network = context.network
        self._origin = settings.origin
        self._pinned = _parse_pinned(settings.verifier_key, context.network)
        self._folder = context.store_dir / os.path.expanduser(settings.path or "")
        self._keys = KeyFiles(self._folder)
        wait_s = settings.timeout / 2  # two locks are taken one after the other
        self._store = LogStore(self._folder / "log.sqlite3", wait_s)
        if self._pinned is not None:
            self._check_identity(self._pinned)
        self._witness = Witness(context.store_dir.with_name(f"{context.store_dir.name}.checkpoint"), wait_s)

    def prepare(self, commitment: Digest, metadata: Metadata) -> Prepared:
        """Build the entry; the reference is the log's origin and the leaf hash. Sets the log up the first time.

        Raises:
            FormatError: metadata that JSON cannot carry exactly, or too much of it.
            ConfigurationError: the log in the folder is not the one that the settings name.
            StorageError: the log cannot be set up: no permission, no space.
            BackendUnavailableError: parts of the log are missing.
        """
        entry = encode_entry(commitment, metadata)
        if not self._keys.exist():
            self._set_up()
        key = self._signing_key()
        return Prepared(
            network=self._network,
            commitment=commitment,
            reference=reference_of(key.name, leaf_hash(entry)),
            payload_hex=entry.hex(),
        )

    def submit(self, prepared: Prepared) -> Receipt:
        """Append the entry and sign the new checkpoint in one transaction, then read the anchor back.

        Raises:
            SubmissionRejectedError: the prepared bytes are not the entry that their reference names in this log.
            VerificationError: the log shrank or forked since a checkpoint was seen; nothing is signed.
            BackendUnavailableError: the log is not there, cannot be written, or is locked.
            StorageError: the new checkpoint could not be remembered; submitting again finishes that.
        """
        key = self._signing_key()
        entry, leaf = _check_prepared(prepared, key.name)
        with self._witness.lock():
            seen = self._witness.newest(key.verifier)
            with self._store.writing() as log:
                note = check_log(log, key.verifier, seen)
                if note is None or log.find(leaf) is None:
                    note = _append(log, key, leaf, entry)
            self._witness.remember(note, key.verifier)
        return self.lookup(prepared.reference)

    def lookup(self, reference: str) -> Receipt:
        """Find an anchor from its reference, with the checkpoint that was signed when it was logged.

        Raises:
            FormatError: not of the form `origin#leaf hash`.
            AnchorNotFoundError: this log has no such entry, or the reference is of another log.
            BackendUnavailableError: the log is not there or cannot be read.
            VerificationError: the log is damaged, shrank or forked.
        """
        return self._find(reference)[0]

    def upgrade(self, receipt: Receipt) -> Receipt:
        """Look again, and remember the log's newest checkpoint; a logged entry has no better evidence to wait for.

        Raises:
            VerificationError: the entry states another commitment than the receipt.
            MrvError: whatever `lookup` raises.
        """
        fresh, note, key = self._find(receipt.reference)
        if fresh.commitment != receipt.commitment:
            raise VerificationError(f"the logged entry states {fresh.commitment}, not {receipt.commitment}")
        with self._witness.lock():
            self._witness.remember(note, key)
        return fresh

    def verify(self, receipt: Receipt, commitment: Digest) -> VerifiedAnchor:
        """Check a receipt and the log it came from.

        1. The receipt makes no claim that this log cannot keep, and is about this commitment.
        2. Its checkpoint is signed by the trusted key, the inclusion proof of its entry leads there, and the entry
           states the commitment.
        3. The log's newest checkpoint is signed by the same key and is the root of the tree in the file.
        4. That tree extends the remembered checkpoint and the receipt's: nothing was dropped, put back or rewritten.
        5. The entry is in the file, where and as the receipt says.

        Steps 1 and 2 need no log.

        Raises:
            VerificationError: any of these is wrong.
            BackendUnavailableError: the log is not there or cannot be read.
        """
        key = self._trusted_key()
        self._check_claims(receipt, commitment, key)
        evidence = check_evidence(receipt.evidence, receipt.reference, commitment, key)
        seen = self._witness.newest(key)
        try:
            with self._store.reading() as log:
                check_log(log, key, seen)
                check_extends(log, evidence.checkpoint, "the receipt's checkpoint")
                check_entry(log, evidence, receipt.submitted_at)
                log_size = log.size
        except BackendUnavailableError as error:
            raise BackendUnavailableError(
                f"{error.message}; the receipt's own signature and inclusion proof hold",
                hint=error.hint,
                retryable=error.retryable,
            ) from error
        return VerifiedAnchor(
            network=self._network,
            network_id=key.name,
            reference=receipt.reference,
            commitment=commitment,
            state=ReceiptState.FINAL,
            facts={
                "leaf_index": evidence.proof.index,
                "checkpoint_size": evidence.checkpoint.size,
                "log_size": log_size,
                "verifier_key": str(key),
            },
            trusts=(_TRUSTS_NO_TIME, _TRUSTS_OPERATOR, *(() if self._pinned else (_TRUSTS_FOLDER,))),
        )

    def status(self) -> DriverStatus:
        """Say whether the log can be appended to, without creating anything."""
        origin = self._pinned.name if self._pinned else None
        try:
            if self._keys.exist():
                key = self._signing_key().verifier
                origin = key.name
                seen = self._witness.newest(key)
                with self._store.reading() as log:
                    check_log(log, key, seen)
                    detail = f"transparency log in this folder, {log.size} entries"
            else:
                detail = "transparency log in this folder, not set up yet"
            ready = _can_be_written(self._folder)
        except MrvError as error:
            detail, ready = error.message, False
        return DriverStatus(
            network=self._network,
            driver=self.name,
            network_id=origin,
            embedded=True,
            ready=ready,
            detail=detail,
        )

    def close(self) -> None:
        """Nothing is held open."""

    def _set_up(self) -> None:
        """Create the log and its key; of several processes that try, the first one does it."""
        if self._pinned is not None:
            raise ConfigurationError(
                f"network {self._network!r}: verifier_key is set, but {self._folder} holds no signing key for it",
                hint="restore log.key, or leave verifier_key out to start a log of your own",
            )
        if self._witness.exists():
            raise BackendUnavailableError(
                f"the log in {self._folder} is gone, although {self._witness.path} remembers it",
                hint="restore the folder, or remove that file to start another log",
            )
        make_folder(self._folder)
        if self._folder.is_symlink():
            raise StorageError(f"{self._folder} is a symbolic link", hint="remove the link or set path")
        self._store.create()
        with self._store.writing() as log:  # its lock decides which process makes the key
            if self._keys.exist():
                return
            if log.size:
                raise BackendUnavailableError(
                    f"the log in {self._folder} has entries but no signing key", hint="restore its log.key"
                )
            self._keys.create(self._origin)

    def _signing_key(self) -> SigningKey:
        key = self._keys.load_secret()
        self._check_identity(key.verifier)
        return key

    def _trusted_key(self) -> VerifierKey:
        if self._pinned is not None:
            return self._pinned
        key = self._keys.load_public()
        self._check_identity(key)
        return key

    def _check_identity(self, key: VerifierKey) -> None:
        if self._pinned not in (None, key):
            raise ConfigurationError(
                f"network {self._network!r}: the signing key in {self._folder} is not that of verifier_key",
                hint="restore the right log.key, or correct verifier_key",
            )
        if self._origin not in (None, key.name):
            raise ConfigurationError(
                f"network {self._network!r}: the log is {key.name}, not {self._origin}",
                hint="a log never changes its origin; correct the setting, or choose another folder",
            )

    def _find(self, reference: str) -> tuple[Receipt, str, VerifierKey]:
        """Return the receipt of a reference, the note of the log's newest checkpoint, and the trusted key."""
        origin, leaf = parse_reference(reference)
        key = self._trusted_key()
        if origin != key.name:
            raise AnchorNotFoundError(f"{reference[:200]!r} is an anchor of another log than {key.name}")
        seen = self._witness.newest(key)
        with self._store.reading() as log:
            note = check_log(log, key, seen)
            row = log.find(leaf)
            if note is None or row is None:
                raise AnchorNotFoundError(f"the log {key.name} has no entry {leaf.hex()}")
            return self._receipt(log, key, reference, row), note, key

    def _receipt(self, log: LogReader, key: VerifierKey, reference: str, row: EntryRow) -> Receipt:
        size = row.index + 1
        note = log.checkpoint(size)
        if note is None:
            raise VerificationError(f"the log {key.name} has lost its checkpoint of size {size}")
        try:
            commitment = parse_entry(row.entry).commitment
            submitted_at = _read_time(row.submitted_at)
        except FormatError as error:
            raise VerificationError(f"entry {row.index} of the log {key.name} is damaged: {error.message}") from error
        proof = TlogProof(row.index, log.inclusion_path(row.index, size), note)
        evidence = LogEvidence(format="mrv-log-evidence/1", entry=row.entry.decode("utf-8"), proof=proof.to_text())
        check_evidence(evidence.to_json(), reference, commitment, key)
        return Receipt(
            network=self._network,
            driver=self.name,
            network_id=key.name,
            embedded=True,
            commitment=commitment,
            state=ReceiptState.FINAL,
            reference=reference,
            submitted_at=submitted_at,
            evidence=evidence.to_json(),
        )

    def _check_claims(self, receipt: Receipt, commitment: Digest, key: VerifierKey) -> None:
        of_another_log = receipt.network_id != key.name and receipt.reference.startswith(f"{receipt.network_id}#")
        # With a pinned key, or where this log replaced the remembered one, another log is wrong, not elsewhere.
        if of_another_log and self._pinned is None and self._witness.newest(key) is not None:
            raise AnchorNotFoundError(
                f"the receipt is of the log {receipt.network_id}, the log here is {key.name}",
                hint="verify the run beside the log it was anchored in, or set path and verifier_key",
            )
        claims = {
            "network": (receipt.network, self._network),
            "driver": (receipt.driver, self.name),
            "network_id": (receipt.network_id, key.name),
            "embedded": (receipt.embedded, True),
            "block_time": (receipt.block_time, None),
            "commitment": (receipt.commitment, commitment),
        }
        for claim, (claimed, actual) in claims.items():
            if claimed != actual:
                raise VerificationError(f"the receipt claims {claim} {claimed}, but it is {actual}")


def _append(log: LogWriter, key: SigningKey, leaf: bytes, entry: bytes) -> str:
    """Add an entry, sign the checkpoint over the grown tree, keep it, and return its note."""
    log.append(leaf, entry, format_time(utc_now()))
    note = key.sign(Checkpoint(key.name, log.size, log.root(log.size)).to_text())
    log.add_checkpoint(note)
    return note


def _check_prepared(prepared: Prepared, origin: str) -> tuple[bytes, bytes]:
    try:
        entry = bytes.fromhex(prepared.payload_hex)
        stated = parse_entry(entry).commitment
    except ValueError as error:  # FormatError is one too
        raise SubmissionRejectedError(f"the prepared bytes are not a log entry: {error}") from error
    leaf = leaf_hash(entry)
    if prepared.reference != reference_of(origin, leaf) or prepared.commitment != stated:
        raise SubmissionRejectedError(
            f"the prepared entry is {reference_of(origin, leaf)} for {stated}, "
            f"not {prepared.reference[:200]} for {prepared.commitment}"
        )
    return entry, leaf


def _read_time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
        if format_time(time) != text:
            raise ValueError("not in the form it is written in")
    except (ValueError, OverflowError) as error:
        raise FormatError(f"{text[:40]!r} is not a time") from error
    return time


def _parse_pinned(text: str | None, network: str) -> VerifierKey | None:
    if text is None:
        return None
    try:
        return VerifierKey.parse(text)
    except FormatError as error:
        raise ConfigurationError(
            f"network {network!r}: verifier_key: {error.message}", hint="copy the line in the log's log.vkey"
        ) from error


def _can_be_written(folder: Path) -> bool:
    """Whether the folder, or the nearest one above it that exists, takes new files."""
    existing = next(path for path in (folder, *folder.absolute().parents) if os.path.exists(path))
    return os.path.isdir(existing) and os.access(existing, os.W_OK | os.X_OK)
