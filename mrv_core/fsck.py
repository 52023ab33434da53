# SPDX-License-Identifier: MIT
"""Checks the journal against itself, the run folders and the networks, and rebuilds it. Sends nothing.

What is on a network is adopted and never anchored again; what is nowhere is left to `mrv flush`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

from mrv_core.errors import FormatError, MrvError, VerificationError
from mrv_core.hashing import Digest
from mrv_core.journal import JournalRow, JournalState
from mrv_core.journal_repair import Examination, examine, rebuild
from mrv_core.manager import BlockchainManager
from mrv_core.models import NO_METADATA, DigestField, Metadata, Model, Receipt, ReceiptState
from mrv_core.recorded import Recorded, RecordedAnchor, recorded_anchors

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_Key = tuple[Digest, str]


class Finding(StrEnum):
    """What was found out about one anchor, or about the file."""

    OK = "ok"
    REPAIRED = "repaired"
    WRONG = "wrong"
    COULD_NOT_CHECK = "could not check"


class CheckedRow(Model):
    """One anchor on one network.

    Attributes:
        commitment: What is anchored.
        network: Configured name of the network.
        finding: What was found out.
        state: Its state in the journal afterwards; None where it is not in the journal.
        reference: Transaction id or CID, where there is one.
        detail: One line for people.
    """

    commitment: DigestField
    network: str
    finding: Finding
    state: str | None
    reference: str | None
    detail: str


class FsckReport(Model):
    """`mrv-fsck/1`: what a check of the journal found.

    Attributes:
        format: Version of this format.
        journal: Path of the journal.
        file: What was found out about the file itself.
        problems: What is wrong with the file or the run folders, one line each.
        kept: Where a damaged file is kept, if it was replaced.
        rows: Every anchor, those of the journal first.
    """

    format: Literal["mrv-fsck/1"] = "mrv-fsck/1"
    journal: str
    file: Finding
    problems: tuple[str, ...]
    kept: str | None
    rows: tuple[CheckedRow, ...]

    def found(self, finding: Finding) -> bool:
        """Tell whether something was found to be so."""
        return finding is self.file or any(row.finding is finding for row in self.rows)


def check_journal(manager: BlockchainManager, *, rebuilding: bool = False) -> FsckReport:
    """Check a journal, repair what can be repaired without sending anything, and say what is wrong.

    Args:
        manager: Brings the journal and the networks.
        rebuilding: Whether a damaged file is replaced by a new one, and what a network no longer has is queued again.

    Raises:
        StorageError: the journal cannot be read or written at all, or is in use for too long.
    """
    # (1) The file: structure, and the checksum of every row and attempt.
    examined = examine(manager.journal)
    recorded = recorded_anchors(manager.base_dir)
    # (2) A damaged file is replaced by one with the intact rows; what is not in them comes from the steps below.
    kept = None
    if rebuilding and examined.problems:
        examined, kept = _replace_file(manager)
    if examined.problems and kept is None:
        return _report(manager, Finding.WRONG, (*examined.problems, *recorded.problems), None, ())
    # (3) Every anchor, of the journal or of the run folders: its network is asked.
    keys = dict.fromkeys([*((row.commitment, row.network) for row in examined.rows), *recorded.anchors])
    checked = _ask_networks(manager, keys, recorded, rebuilding)
    # (4) The file as it is now. A run folder that cannot be read may hold anchors that it should know.
    lost = ("there is no journal",) if recorded.anchors and not examined.exists else ()
    file = Finding.COULD_NOT_CHECK if recorded.problems else Finding.OK
    if lost or kept is not None:
        file = Finding.REPAIRED if examine(manager.journal).exists else Finding.WRONG
    problems = (*lost, *examined.problems, *recorded.problems)
    return _report(manager, file, problems, kept, [checked[key] for key in keys])


def _replace_file(manager: BlockchainManager) -> tuple[Examination, Path | None]:
    """Rebuild the file while nobody anchors; return what was in it, and where it is kept."""
    with ExitStack() as locks:
        for name, network in manager.config.networks.items():
            locks.enter_context(manager.journal.exclusive(name, network.settings.timeout))
        # Not what was read before the locks were held: whoever held them may have sent something, or rebuilt it.
        examined = examine(manager.journal)
        return examined, rebuild(manager.journal, examined.rows) if examined.problems else None


def _report(
    manager: BlockchainManager, file: Finding, problems: tuple[str, ...], kept: Path | None, rows: Iterable[CheckedRow]
) -> FsckReport:
    return FsckReport(
        journal=str(manager.journal.path),
        file=file,
        problems=problems,
        kept=None if kept is None else str(kept),
        rows=tuple(rows),
    )


def _ask_networks(
    manager: BlockchainManager, keys: Iterable[_Key], recorded: Recorded, rebuilding: bool
) -> dict[_Key, CheckedRow]:
    of_network: dict[str, list[_Key]] = {}
    for key in keys:
        of_network.setdefault(key[1], []).append(key)

    def check(network: str) -> dict[_Key, CheckedRow]:
        checks = {}
        with manager.journal.exclusive(network, manager.config.networks[network].settings.timeout):
            for key in of_network[network]:
                checks[key] = _Check(manager, key, recorded.anchors.get(key), rebuilding).run()
        return checks

    answers = manager.parallel([name for name in of_network if name in manager.config.networks], check)
    checked: dict[_Key, CheckedRow] = {}
    for network, its_keys in of_network.items():
        answer = answers.get(network)
        if isinstance(answer, dict):
            checked |= answer
        else:
            reason = "the network is not configured" if answer is None else answer.message
            for key in its_keys:
                row = _Check(manager, key, recorded.anchors.get(key), rebuilding)
                checked[key] = row.result(Finding.COULD_NOT_CHECK, reason)
    return checked


class _Check:
    """Checks one anchor on one network, whose lock the caller holds."""

    def __init__(
        self, manager: BlockchainManager, key: _Key, recorded: RecordedAnchor | None, rebuilding: bool
    ) -> None:
        self._manager = manager
        self._journal = manager.journal
        self._commitment, self._network = key
        self._recorded = recorded
        self._rebuilding = rebuilding
        rows = manager.journal.rows(commitment=self._commitment, network=self._network)
        self._row = rows[0] if rows else None

    def run(self) -> CheckedRow:
        try:
            receipt = self._locate()
        except (VerificationError, FormatError) as error:
            return self.result(Finding.WRONG, error.message)
        except MrvError as error:
            return self._could_not_check(error)
        return self._not_there() if receipt is None else self._there(receipt)

    def result(self, finding: Finding, detail: str) -> CheckedRow:
        row = self._row
        reference = row.reference if row is not None else None
        if reference is None and self._receipts:
            reference = self._receipts[0].reference
        return CheckedRow(
            commitment=self._commitment,
            network=self._network,
            finding=finding,
            state=None if row is None else str(row.state),
            reference=reference,
            detail=detail,
        )

    @property
    def _receipts(self) -> tuple[Receipt, ...]:
        return () if self._recorded is None else self._recorded.receipts

    @property
    def _is_imported(self) -> bool:
        """Whether others made the anchor: in the journal it would be made anew, at a price, if it were ever gone."""
        return bool(self._receipts) and self._recorded is not None and not self._recorded.to_be_sent

    @property
    def _metadata(self) -> Metadata:
        return NO_METADATA if self._recorded is None else self._recorded.metadata

    def _locate(self) -> Receipt | None:
        """Ask for the anchor, and let its driver verify what it says."""
        anchoring = self._manager.anchoring(self._network)
        receipt = anchoring.locate(self._row or self._unwritten(), *self._receipts)
        if receipt is not None and receipt.state is not ReceiptState.PENDING:
            self._manager.verify_receipt(self._network, receipt, self._commitment)
        return receipt

    def _unwritten(self) -> JournalRow:
        """Return a row as it would be in the journal, to ask with; it is not written before the answer is known."""
        state, metadata = JournalState.QUEUED, dict(self._metadata)
        return JournalRow(0, self._commitment, self._network, metadata, state, None, None, None, _LONG_AGO, _LONG_AGO)

    def _there(self, receipt: Receipt) -> CheckedRow:
        before = self._row
        if before is None and self._is_imported:
            return self.result(Finding.OK, "imported into the run folder, and not in the journal")
        if before is None:
            self._row = self._journal.adopt(self._commitment, self._network, self._metadata, receipt)
            return self.result(Finding.REPAIRED, "the journal did not know it; adopted from the network")
        if receipt != before.receipt:
            self._row = self._journal.record_receipt(before, receipt)
            if (self._row.state, self._row.reference) != (before.state, before.reference):
                return self.result(Finding.REPAIRED, f"the journal said {before.state} as {before.reference}")
        return self.result(Finding.OK, "as the journal says")

    def _not_there(self) -> CheckedRow:
        row = self._row
        if row is None:
            return self._missing_and_not_there()
        if row.receipt is None:
            return self.result(Finding.OK, row.error or "waits for 'mrv flush'")
        missing = f"the network has no {row.reference}"
        if row.is_open or self._rebuilding:
            self._row = self._journal.record_dropped(row)
            return self.result(Finding.REPAIRED, f"{missing}; 'mrv flush' sends it again")
        advice = "if that is the right network, 'mrv fsck --rebuild' queues it again"
        return self.result(Finding.WRONG, f"{missing}; {advice}")

    def _missing_and_not_there(self) -> CheckedRow:
        recorded = self._recorded
        if recorded is None or not (recorded.to_be_sent or recorded.receipts):
            return self.result(Finding.OK, "a batch that was never queued")
        if recorded.receipts and (self._is_imported or not self._rebuilding):
            return self.result(Finding.WRONG, "the network has no anchor for the receipt in the run folder")
        self._row = self._journal.enqueue(self._commitment, self._network, recorded.metadata)
        return self.result(Finding.REPAIRED, "the journal did not know it, and it is nowhere; 'mrv flush' sends it")

    def _could_not_check(self, error: MrvError) -> CheckedRow:
        """Keep what a run folder knows: in a journal without it the same root would be anchored a second time."""
        ours = [item for item in self._receipts if (item.commitment, item.network) == (self._commitment, self._network)]
        if self._row is None and ours and self._rebuilding and not self._is_imported:
            self._row = self._journal.adopt(self._commitment, self._network, self._metadata, ours[-1])
        return self.result(Finding.COULD_NOT_CHECK, error.message)
