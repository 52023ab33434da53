# SPDX-License-Identifier: MIT
"""Records in a folder: the record, its samples, and the receipts of its anchors, side by side.

<storage_dir>/
MRV-<uuid>.json             the record; its SHA-256 is what is anchored
MRV-<uuid>.samples.csv      the power over time that it sums up
MRV-<uuid>.draft            the record as far as it is known, while the training runs
MRV-<uuid>.receipts.json    where it is anchored
journal.sqlite3, networks/  of the anchoring
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from mrv_core.batching import BatchProof
from mrv_core.canonical import parse_json
from mrv_core.errors import FormatError
from mrv_core.files import make_folder, read_limited, write_atomic
from mrv_core.hashing import Digest
from mrv_core.journal import Journal
from mrv_core.models import DigestField, Model, Receipt
from mrv_core.mrv.record import MAX_RECORD_BYTES, MrvRecord, check_mrv_id, generate_mrv_id

__all__ = ["RecordReceipts", "generate_mrv_id", "receipts_path", "record_path", "samples_path", "save_mrv"]

MAX_RECEIPTS_BYTES: Final = 16 * 1024 * 1024
"""Largest receipts document that is read."""
_MAX_NAME: Final = 200
"""Longest id that is a file's name too; file systems take 255 bytes, and the ends need some."""


class RecordReceipts(Model):
    """Where a record is anchored.

    Attributes:
        format: Version of this format.
        mrv_id: The record.
        commitment: SHA-256 of its bytes.
        batch: That it is a member of the batch that was anchored; None where it was anchored by itself.
        receipts: By the network's configured name.
    """

    format: Literal["mrv-record-receipts/1"] = "mrv-record-receipts/1"
    mrv_id: str
    commitment: DigestField
    batch: BatchProof | None = None
    receipts: dict[str, Receipt]

    @property
    def anchored(self) -> Digest:
        """What the receipts are for: the record's hash, or its batch."""
        return self.commitment if self.batch is None else self.batch.batch


def record_path(folder: Path, mrv_id: str) -> Path:
    """Return where a record is.

    Raises:
        FormatError: the id is no file's name.
    """
    return folder / f"{_file_name(mrv_id)}.json"


def samples_path(record: Path) -> Path:
    """Return where the samples of a record are."""
    return record.with_name(f"{record.name.removesuffix('.json')}.samples.csv")


def receipts_path(record: Path) -> Path:
    """Return where the receipts of a record are."""
    return record.with_name(f"{record.name.removesuffix('.json')}.receipts.json")


def save_mrv(
    mrv_data: MrvRecord | dict[str, Any], mrv_id: str | None = None, storage_dir: str | Path = "mrv_data"
) -> str:
    """Write a record into a folder and return its path.

    Args:
        mrv_data: A record of schema 1.0, or a document of schema 0.1, which is written indented and sorted.
        mrv_id: Its id; by default the one in it.
        storage_dir: The folder; it is made where it is missing.

    Raises:
        FormatError: not a record, or of another id.
        StorageError: no permission, or no space.
    """
    from mrv_core.mrv.schema_0_1 import MrvRecord01

    record = mrv_data if isinstance(mrv_data, MrvRecord) else MrvRecord01.from_json(mrv_data, what="the record")
    if mrv_id is not None and record.mrv_id != mrv_id:
        raise FormatError(f"the record is {record.mrv_id}, not {mrv_id!r:.80}")
    path = record_path(make_folder(Path(storage_dir)), record.mrv_id)
    write_atomic(path, record.to_bytes() if isinstance(record, MrvRecord) else record.to_file())
    return str(path)


def read_record_file(path: Path) -> bytes:
    """Return the bytes of a record's file.

    Raises:
        StorageError: missing or unreadable.
        FormatError: larger than any record.
    """
    return read_limited(path, MAX_RECORD_BYTES)


def read_receipts(path: Path) -> RecordReceipts | None:
    """Return the receipts beside a record, or None where there are none.

    Raises:
        StorageError: unreadable.
        FormatError: not such a file.
    """
    place = receipts_path(path)
    if not place.exists():
        return None
    data = read_limited(place, MAX_RECEIPTS_BYTES)
    return RecordReceipts.from_json(parse_json(data, what=str(place), max_bytes=MAX_RECEIPTS_BYTES), what=str(place))


def write_receipts(path: Path, held: RecordReceipts) -> None:
    """Write the receipts of a record beside it.

    Raises:
        StorageError: no permission, or no space.
    """
    write_atomic(receipts_path(path), held.to_bytes())


def collect_receipts(folder: Path, journal: Journal) -> None:
    """Bring the receipts beside the records of a folder up to date with its journal.

    Raises:
        StorageError: no permission, or no space; the journal cannot be read.
        FormatError: receipts that are there cannot be read.
    """
    found: dict[Digest, dict[str, Receipt]] = {}
    beside: dict[Path, RecordReceipts] = {}
    for row in journal.rows():
        if row.receipt is None:
            continue
        found.setdefault(row.commitment, {})[row.network] = row.receipt
        mrv_id = row.metadata.get("mrv_id")
        path = record_path(folder, mrv_id) if isinstance(mrv_id, str) else None
        if path is not None and path.exists() and not receipts_path(path).exists():
            beside[path] = RecordReceipts(mrv_id=str(mrv_id), commitment=row.commitment, receipts={})
    for place in folder.glob("*.receipts.json"):
        path = place.with_name(f"{place.name.removesuffix('.receipts.json')}.json")
        held = read_receipts(path)
        if held is not None:
            beside[path] = held
    for path, held in beside.items():
        newer = held.model_copy(update={"receipts": held.receipts | found.get(held.anchored, {})})
        if newer != held:
            write_receipts(path, newer)


def _file_name(mrv_id: str) -> str:
    check_mrv_id(mrv_id)
    if "/" in mrv_id or mrv_id.startswith(".") or len(mrv_id) > _MAX_NAME:
        raise FormatError(f"{mrv_id!r} cannot be a file's name", hint="leave out '/', and a '.' at the beginning")
    return mrv_id
