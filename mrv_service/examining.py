# SPDX-License-Identifier: MIT
"""Verifying what a registry holds, as it would give it out: the file, and what the lists say of it."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

from mrv_core.bundle_verification import BundleReport, verify_bundle
from mrv_core.canonical import canonical_bytes
from mrv_core.errors import FormatError, MrvError
from mrv_core.manager import BlockchainManager
from mrv_core.models import Verdict
from mrv_core.mrv.storage import receipts_path, record_path, samples_path
from mrv_core.mrv.verification import RecordReport, verify_record
from mrv_core.registry import Registry
from mrv_service.bundles import Bundles
from mrv_service.database import Database
from mrv_service.problems import ProblemError
from mrv_service.records import Records
from mrv_service.verifications import Kind

_logger = logging.getLogger(__name__)

_SAMPLES: Final = "its samples"


@dataclass(frozen=True, slots=True)
class Found:
    """What a verification found.

    Attributes:
        verdict: Its verdict.
        summary: One sentence for people.
        report: The report as JSON; None where there is none.
        held: What the registry has of it, in words: the receipt of each network, its samples; None where nobody looked.
    """

    verdict: Verdict
    summary: str
    report: bytes | None = None
    held: frozenset[str] | None = None


class Examiner:
    """Verifies what one registry holds. Belongs to one thread.

    Args:
        database: Where it is.
        manager: Asks the networks. What its journal knows counts for nothing here: others do not have it.
        registry: Known drivers.
    """

    def __init__(self, database: Database, manager: BlockchainManager, registry: Registry) -> None:
        self._manager = manager
        self._registry = registry
        self._records = Records(database, registry)
        self._bundles = Bundles(database)

    def examine(self, kind: str, name: str) -> Found:
        """Verify a record or bundle. Whatever is wrong with the registry's copy is TAMPERED: it was sound when it came.

        Raises:
            BackendUnavailableError, StorageError: the database cannot be used.
        """
        try:
            with tempfile.TemporaryDirectory(prefix="mrv-watch-") as folder:
                found = self._examine(Path(folder), kind, name)
        except OSError as error:
            return Found(Verdict.UNREACHABLE, f"It could not be checked: {error.strerror}.")
        # Paths of this machine are of no use to anybody.
        paths = [f"{folder}/", f"{self._manager.base_dir.absolute()}/", f"{self._manager.base_dir}/"]
        summary, report = found.summary, found.report
        for path in paths:
            summary = summary.replace(path, "")
            report = None if report is None else report.replace(path.encode(), b"")
        return Found(found.verdict, summary, report, found.held)

    def _examine(self, folder: Path, kind: str, name: str) -> Found:
        try:
            path, held = (self._lay_out_record if Kind(kind) is Kind.RECORD else self._lay_out_bundle)(name, folder)
        except ProblemError as error:
            if error.status is not HTTPStatus.NOT_FOUND:
                raise
            return Found(Verdict.NOT_FOUND, f"The {kind} is not in the registry's database any more.")
        except (OSError, MrvError) as error:
            if not isinstance(error, FormatError):
                raise
            return _spoilt(error.message)
        except Exception as error:  # whatever was written into a row by hand
            _logger.warning("%s %s cannot be read from the database", kind, name, exc_info=True)
            return _spoilt(f"{type(error).__name__}, the log says more")
        try:
            report = self._verify(Kind(kind), path, name)
        except FormatError as error:
            return _spoilt(error.message)
        except MrvError as error:
            return Found(Verdict.UNREACHABLE, f"It could not be checked: {error.message}.", held=held)
        return Found(report.verdict, report.summary, canonical_bytes(report.to_json()), held)

    def _lay_out_record(self, mrv_id: str, folder: Path) -> tuple[Path, frozenset[str]]:
        """Write a record, its receipts and its samples into a folder, as somebody who fetched them has them."""
        path, copy = record_path(folder, mrv_id), self._records.copy(mrv_id)
        path.write_bytes(copy.content)
        held = set()
        if copy.receipts is not None:
            receipts_path(path).write_bytes(copy.receipts.to_bytes())
            held = {f"its receipt of {network}" for network in copy.receipts.receipts}
        if copy.samples is not None:
            samples_path(path).write_bytes(copy.samples)
            held.add(_SAMPLES)
        return path, frozenset(held)

    def _lay_out_bundle(self, name: str, folder: Path) -> tuple[Path, frozenset[str]]:
        data = self._bundles.content(name)
        if hashlib.sha256(data).hexdigest() != name:
            raise FormatError("its SHA-256 is another")
        self._bundles.require_listed_as_it_is(name)
        path = folder / f"{name}.mrv.json"
        path.write_bytes(data)
        return path, frozenset()

    def _verify(self, kind: Kind, path: Path, name: str) -> RecordReport | BundleReport:
        if kind is Kind.BUNDLE:
            return verify_bundle(path, registry=self._registry, manager=self._manager)
        samples = samples_path(path) if samples_path(path).exists() else None
        return verify_record(
            path, manager=self._manager, registry=self._registry, mrv_id=name, samples=samples, use_journal=False
        )


def _spoilt(why: str) -> Found:
    return Found(Verdict.TAMPERED, f"The registry's copy is not what was accepted: {why}.")
