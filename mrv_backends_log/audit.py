# SPDX-License-Identifier: MIT
"""Checks of the log itself: that it is what it signed, that it only grew, and that an entry is in it."""

from __future__ import annotations

from datetime import datetime

from mrv_backends_log.checkpoint import Checkpoint
from mrv_backends_log.evidence import CheckedEvidence, open_checkpoint
from mrv_backends_log.note import VerifierKey
from mrv_backends_log.store import LogReader
from mrv_core.errors import FormatError, RootMismatchError, VerificationError
from mrv_core.models import format_time


def check_log(log: LogReader, key: VerifierKey, seen: Checkpoint | None) -> str | None:
    """Check the newest checkpoint against the tree, and the tree against a checkpoint seen before.

    Returns:
        The note of the newest checkpoint, or None where nothing has been logged.

    Raises:
        VerificationError: the log shrank or forked, or its newest checkpoint is not what it must be.
    """
    signed_size = log.latest_checkpoint_size()
    if log.size != signed_size:
        change = "shrank" if log.size < signed_size else "grew without signing"
        raise VerificationError(f"the log {key.name} {change}: {log.size} entries, newest checkpoint at {signed_size}")
    note = log.checkpoint(signed_size)
    if note is not None:
        try:
            newest = open_checkpoint(note, key)
        except FormatError as error:
            raise VerificationError(f"the newest checkpoint of {key.name} is malformed: {error.message}") from error
        if newest.size != signed_size:
            raise VerificationError(f"the log {key.name} shows a checkpoint of size {newest.size} for {signed_size}")
        check_extends(log, newest, "its newest checkpoint")
    if seen is not None:
        check_extends(log, seen, "the remembered checkpoint")
    return note


def check_extends(log: LogReader, older: Checkpoint, what: str) -> None:
    """Check that the log's tree extends a checkpoint, by recomputing the root at that size.

    Args:
        log: The log.
        older: A checkpoint whose signature has been checked.
        what: Where the checkpoint comes from, for messages.

    Raises:
        VerificationError: the log has fewer entries: it shrank or was put back.
        RootMismatchError: the log has another root at that size: it forked or was rewritten.
    """
    if log.size < older.size:
        raise VerificationError(
            f"the log {older.origin} shrank: it has {log.size} entries, {what} covers {older.size}",
            hint="restore the newer copy of the log",
        )
    computed = log.root(older.size)
    if computed != older.root:
        raise RootMismatchError(
            f"the log {older.origin} forked: its root over {older.size} entries is not that of {what}",
            expected=older.root.hex(),
            computed=computed.hex(),
        )


def check_entry(log: LogReader, evidence: CheckedEvidence, submitted_at: datetime) -> None:
    """Check that the log still has the entry where and as a receipt says.

    Raises:
        VerificationError: it is missing, moved, or differs in its bytes, its path or its time of submission.
    """
    index, size = evidence.proof.index, evidence.checkpoint.size
    row = log.find(evidence.leaf)
    if row is None:
        raise VerificationError(f"the log {evidence.checkpoint.origin} has lost its entry {index}")
    if (row.index, row.entry) != (index, evidence.entry) or log.node(0, index) != evidence.leaf:
        raise VerificationError(f"entry {index} of the log {evidence.checkpoint.origin} has been rewritten")
    if log.inclusion_path(index, size) != evidence.proof.path:
        raise VerificationError(f"the log {evidence.checkpoint.origin} has another tree around its entry {index}")
    if row.submitted_at != format_time(submitted_at):
        raise VerificationError(
            f"the receipt claims entry {index} was submitted at {format_time(submitted_at)}; "
            f"the log says {row.submitted_at[:40]}"
        )
