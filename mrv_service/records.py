# SPDX-License-Identifier: MIT
"""Records in the database: each once, as the bytes that were submitted, and never changed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from sqlalchemy import Connection, Row, bindparam, exists, insert, select, update
from sqlalchemy.exc import IntegrityError

from mrv_core.batching import BatchProof
from mrv_core.bundle_receipts import examine_receipt
from mrv_core.canonical import parse_json
from mrv_core.driver import TrustedFacts
from mrv_core.errors import FormatError
from mrv_core.hashing import Digest
from mrv_core.models import Model, Receipt, ReceiptState, TimeField, Verdict, format_time, utc_now
from mrv_core.mrv.recompute import check_numbers, check_samples
from mrv_core.mrv.record import MrvRecord
from mrv_core.mrv.samples import parse_samples
from mrv_core.mrv.schema_0_1 import MrvRecord01
from mrv_core.mrv.storage import MAX_RECEIPTS_BYTES, RecordReceipts, record_path
from mrv_core.mrv.verification import read_record
from mrv_core.registry import Registry
from mrv_service.database import Database
from mrv_service.log import enter
from mrv_service.pages import contains, page_of
from mrv_service.problems import ProblemError
from mrv_service.tables import batches, conflicts, members, receipts, records, samples, tokens
from mrv_service.tokens import Token
from mrv_service.verifications import Kind

_WHAT = "the record"
_STATE_ORDER = tuple(ReceiptState)
_NETWORK = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")  # as a configuration names one
_LISTED = select(
    *(column for column in records.c if column.name != "content"),  # megabytes, which no list shows
    receipts.c.networks.label("submitted"),
    batches.c.networks.label("batched"),
    samples.c.record_id.label("sampled"),
).select_from(
    records.outerjoin(receipts)
    .outerjoin(samples, samples.c.record_id == records.c.id)
    .outerjoin(members, members.c.record_id == records.c.id)
    .outerjoin(batches, batches.c.id == members.c.batch_id)
)

# Built once: building one takes as long as asking SQLite.
_BY_ID = select(records).where(records.c.mrv_id == bindparam("mrv_id"))
_OF_SUBMITTER = exists().where(tokens.c.id == bindparam("submitted_by"), tokens.c.name == bindparam("name")).select()
_CONTENT = select(records.c.content).where(records.c.mrv_id == bindparam("mrv_id"))
_SUMMARY = _LISTED.where(records.c.mrv_id == bindparam("mrv_id"))
_INSERT = insert(records)
_BATCH = (
    select(batches.c.commitment).select_from(members.join(batches)).where(members.c.record_id == bindparam("record_id"))
)


class RecordSummary(Model):
    """What a list says of a record.

    Attributes:
        mrv_id: Its id.
        hash: SHA-256 that is anchored of it, hexadecimal.
        schema_version: Its schema.
        experiment_name, model_name, dataset_name: As the record says.
        status: How the training ended; null in schema 0.1, which does not say.
        ended_at: When, as the record says.
        energy_uwh, co2e_mg: Energy in µWh and emissions in mg CO2e; null where they are not known.
        submitted_at: When it came here, by this server's clock.
        networks: Where it is anchored, as far as somebody said so here.
        has_samples: Whether its samples are here.
    """

    mrv_id: str
    hash: str
    schema_version: str
    experiment_name: str
    model_name: str
    dataset_name: str
    status: str | None
    ended_at: TimeField
    energy_uwh: int | None
    co2e_mg: int | None
    submitted_at: TimeField
    networks: tuple[str, ...]
    has_samples: bool


class RecordPage(Model):
    """One page of a list.

    Attributes:
        items: The newest first.
        next: Cursor of the page behind it, or null.
    """

    items: tuple[RecordSummary, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which records a list has; None for any."""

    q: str | None = None
    experiment: str | None = None
    model: str | None = None
    dataset: str | None = None
    status: str | None = None
    hash: str | None = None


@dataclass(frozen=True, slots=True)
class RecordCopy:
    """All that is here of a record.

    Attributes:
        content: Its file.
        receipts: Where it is anchored; None where nobody knows here.
        samples: The file of its samples; None where nobody gave them.
    """

    content: bytes
    receipts: RecordReceipts | None
    samples: bytes | None


class Records:
    """The records of one registry. Thread-safe.

    Args:
        database: Where they are.
        registry: Drivers, whose examiners look at receipts.
    """

    def __init__(self, database: Database, registry: Registry) -> None:
        self._database = database
        self._registry = registry

    def add(self, data: bytes, submitted_by: str) -> tuple[str, bool]:
        """Keep a record; return its id, and whether it is new.

        Raises:
            FormatError: no record, or one whose numbers contradict each other.
            ProblemError: another record has the id.
        """
        record, commitment = read_record(data, what=_WHAT)
        _require_plain(record)
        values = {
            "mrv_id": record.mrv_id,
            "hash": commitment.hex,
            "schema_version": record.schema_version,
            "content": data,
            **_facts(record),
            "submitted_at": format_time(utc_now()),
            "submitted_by": submitted_by,
        }
        try:
            with self._database.write() as connection:
                connection.execute(_INSERT, values)
                enter(connection, Kind.RECORD, record.mrv_id, commitment.hex)
            return record.mrv_id, True
        except IntegrityError:
            pass
        with self._database.read() as connection:
            row = connection.execute(_BY_ID, {"mrv_id": record.mrv_id}).one_or_none()
        if row is not None and row.hash == commitment.hex and row.content == data:
            return record.mrv_id, False
        self._note_conflict(record.mrv_id, commitment, submitted_by)
        raise ProblemError(
            HTTPStatus.CONFLICT,
            f"another record has the id {record.mrv_id}"
            if row is not None
            else f"another record had the id {record.mrv_id}",
            hint="a corrected record has an id of its own, and names the old one with supersedes",
            submitted=commitment.hex,
            **({} if row is None else {"registered": row.hash}),
        )

    def summary(self, mrv_id: str) -> RecordSummary:
        """Return what a list says of a record.

        Raises:
            ProblemError: there is none.
        """
        with self._database.read() as connection:
            return _listed(connection, mrv_id)

    def content(self, mrv_id: str) -> bytes:
        """Return a record's bytes.

        Raises:
            ProblemError: there is none.
        """
        with self._database.read() as connection:
            found = connection.execute(_CONTENT, {"mrv_id": mrv_id}).scalar_one_or_none()
        if found is None:
            raise _no_record()
        return bytes(found)

    def page(self, wanted: Filter, cursor: str | None, limit: int) -> RecordPage:
        """Return one page of the records that a filter leaves.

        Raises:
            ProblemError: the cursor is none.
        """
        query = _LISTED
        for name in ("experiment", "model", "dataset", "status", "hash"):
            value = getattr(wanted, name)
            if value is not None:
                query = query.where(records.c[name] == value)
        if wanted.q:
            query = query.where(
                contains(wanted.q, *(records.c[n] for n in ("mrv_id", "experiment", "model", "dataset")))
            )
        with self._database.read() as connection:
            rows = connection.execute(page_of(query, records, cursor, limit)).all()
        items = tuple(_summary(row) for row in rows[:limit])
        return RecordPage(items=items, next=str(rows[limit - 1].id) if len(rows) > limit else None)

    def receipts(self, mrv_id: str) -> bytes | None:
        """Return the receipts document of a record: what was submitted, or else those of its batch; None without any.

        Raises:
            ProblemError: there is no record.
        """
        with self._database.read() as connection:
            found = _all_receipts(connection, _row(connection, mrv_id))
        return None if found is None else found.to_bytes()

    def copy(self, mrv_id: str) -> RecordCopy:
        """Return all that is here of a record, as of one moment, where lists say of it what its file says.

        Raises:
            FormatError: they say something else, or it cannot be read.
            ProblemError: there is no record.
        """
        with self._database.snapshot() as connection:
            row = _row(connection, mrv_id)
            listed = _listed(connection, mrv_id)
            held = _all_receipts(connection, row)
            measured = _held(connection, samples, row.id)
        record, commitment = read_record(row.content, what=_WHAT)
        stated = {"hash": commitment.hex, "schema_version": record.schema_version, **_facts(record)}
        other = [name for name, value in stated.items() if getattr(row, name) != value]
        if listed.networks != (() if held is None else tuple(sorted(held.receipts))):
            other.append("networks")
        if other:
            raise FormatError(f"lists say another {other[0]} of it than its file")
        return RecordCopy(bytes(row.content), held, measured)

    def put_receipts(self, mrv_id: str, data: bytes, token: Token) -> RecordReceipts:
        """Take receipts of a record, each of which must hold by itself; a receipt that is further along stays.

        Raises:
            FormatError: no receipts document.
            ProblemError: there is no record, or somebody else's, or they are of another one, or one is wrong.
        """
        given = RecordReceipts.from_json(parse_json(data, what="the receipts"), what="the receipts")
        with self._database.write() as connection:
            row = _own_row(connection, mrv_id, token)
            self._require_receipts_of(row, given)
            batch = connection.execute(_BATCH, {"record_id": row.id}).scalar_one_or_none()
            if batch is not None and str(given.anchored) != batch:  # also while it is on no network yet
                raise _anchored_otherwise()
            is_new = _held(connection, receipts, row.id) is None
            before = _all_receipts(connection, row)
            merged = given if before is None else _merged(before, given)
            content = merged.to_bytes()
            if len(content) > MAX_RECEIPTS_BYTES:  # mrv verify would not read them
                raise ProblemError(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"receipts have at most {MAX_RECEIPTS_BYTES} bytes"
                )
            values = {
                "content": content,
                "networks": "\n".join(sorted(merged.receipts)),
                "updated_at": format_time(utc_now()),
            }
            if is_new:
                connection.execute(insert(receipts).values(record_id=row.id, **values))
            else:
                connection.execute(update(receipts).where(receipts.c.record_id == row.id).values(values))
        return merged

    def samples(self, mrv_id: str) -> bytes | None:
        """Return the samples of a record, or None where nobody gave them.

        Raises:
            ProblemError: there is no record.
        """
        with self._database.read() as connection:
            return _held(connection, samples, _row(connection, mrv_id).id)

    def put_samples(self, mrv_id: str, data: bytes, token: Token) -> bool:
        """Take the samples of a record, which must be those that it commits to; tell whether they are new.

        Raises:
            FormatError: no file of samples.
            ProblemError: there is no record, or somebody else's, or they are not its samples.
        """
        file = parse_samples(data, what="the samples")
        with self._database.write() as connection:
            row = _own_row(connection, mrv_id, token)
            record, _ = read_record(row.content, what=_WHAT)
            if not isinstance(record, MrvRecord) or record.samples is None:
                raise ProblemError(HTTPStatus.CONFLICT, "the record commits to no samples")
            findings = check_samples(record, record.samples, file)
            if findings:
                raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{findings[0].place}: {findings[0].message}")
            if _held(connection, samples, row.id) is not None:
                return False
            connection.execute(insert(samples).values(record_id=row.id, content=data))
        return True

    def _require_receipts_of(self, row: Row[Any], given: RecordReceipts) -> None:
        commitment = Digest("sha256", bytes.fromhex(row.hash))
        if (given.mrv_id, given.commitment) != (row.mrv_id, commitment):
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "the receipts are of another record")
        if not given.receipts:  # they would stand in the way of the worker's
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "there is no receipt among the receipts")
        if not all(_NETWORK.fullmatch(name) for name in given.receipts):
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "the receipts name a network as no configuration does")
        if given.batch is not None:
            given.batch.verify(commitment, given.anchored)
        for network, receipt in sorted(given.receipts.items()):
            if receipt.driver not in self._registry.names():  # it would stand there, and nobody here could verify it
                raise ProblemError(
                    HTTPStatus.UNPROCESSABLE_ENTITY, f"receipt of {network}: its driver is not known here"
                )
            check = examine_receipt(self._registry, network, receipt, given.anchored, TrustedFacts())
            named = check.facts.get("mrv_id", row.mrv_id)
            if check.verdict is Verdict.TAMPERED or named != row.mrv_id:
                detail = check.detail if named == row.mrv_id else "it is of another id"
                raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"receipt of {network}: {detail}"[:1000])

    def _note_conflict(self, mrv_id: str, commitment: Digest, submitted_by: str) -> None:
        values = {"mrv_id": mrv_id, "hash": commitment.hex, "submitted_by": submitted_by}
        try:
            with self._database.write() as connection:
                connection.execute(insert(conflicts).values(**values, refused_at=format_time(utc_now())))
        except IntegrityError:
            pass  # it was noted before


def _require_plain(record: MrvRecord | MrvRecord01) -> None:
    """Refuse what could not be kept under its id in a folder, or cannot be right."""
    from pathlib import Path

    record_path(Path(), record.mrv_id)
    if isinstance(record, MrvRecord):
        findings = check_numbers(record)
        if findings:
            raise FormatError(f"{_WHAT}: {findings[0].place}: {findings[0].message}")


def _facts(record: MrvRecord | MrvRecord01) -> dict[str, Any]:
    experiment = record.experiment
    names = {
        "experiment": _text(experiment.experiment_name),
        "model": _text(experiment.model_name),
        "dataset": _text(experiment.dataset_name),
    }
    if isinstance(record, MrvRecord01):
        ended = datetime.fromisoformat(record.timestamps.end_time).astimezone(UTC)
        return {**names, "status": "", "ended_at": format_time(ended), "energy_uwh": None, "co2e_mg": None}
    return {
        **names,
        "status": str(record.status),
        "ended_at": format_time(record.timestamps.end_time),
        "energy_uwh": record.energy.total_uwh,
        "co2e_mg": record.emissions.co2e_mg,
    }


def _text(value: str) -> str:
    """Return a name as a column can hold it: PostgreSQL takes no NUL."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}")[:1000]


def _row(connection: Connection, mrv_id: str) -> Row[Any]:
    row = connection.execute(_BY_ID, {"mrv_id": mrv_id}).one_or_none()
    if row is None:
        raise _no_record()
    return row


def _own_row(connection: Connection, mrv_id: str, token: Token) -> Row[Any]:
    """Return a record for who submitted it to add to, which others, and workers, cannot do meanwhile.

    Receipts of others could hold by themselves and be of any key and network: they would spoil what is right.
    """
    row = connection.execute(_BY_ID.with_for_update(), {"mrv_id": mrv_id}).one_or_none()
    if row is None:
        raise _no_record()
    submitter = {"submitted_by": row.submitted_by, "name": token.name}
    if row.submitted_by != token.id and not connection.execute(_OF_SUBMITTER, submitter).scalar_one():
        raise ProblemError(
            HTTPStatus.FORBIDDEN,
            "another token submitted this record, and its receipts and samples come with that",
            hint="use that token, or one of the same name; or keep them beside the file",
        )
    return row


def _held(connection: Connection, table: Any, record_id: int) -> bytes | None:
    found = connection.execute(select(table.c.content).where(table.c.record_id == record_id)).scalar_one_or_none()
    return None if found is None else bytes(found)


def _all_receipts(connection: Connection, row: Row[Any]) -> RecordReceipts | None:
    """Return the receipts of a record: what a worker anchored, and beside it what was submitted; None without any."""
    data = _held(connection, receipts, row.id)
    held, batched = None if data is None else _receipts(data), _of_batch(connection, row)
    if held is None or batched is None or held.anchored != batched.anchored:
        return held or batched
    return held.model_copy(update={"receipts": {**held.receipts, **batched.receipts}})


def _of_batch(connection: Connection, row: Row[Any]) -> RecordReceipts | None:
    """Return the receipts of a record that a worker put into a batch, once that is on a network."""
    found = connection.execute(
        select(members.c.proof, batches.c.receipts)
        .select_from(members.join(batches))
        .where(members.c.record_id == row.id)
    ).one_or_none()
    if found is None:
        return None
    values = parse_json(bytes(found.receipts), what="the receipts")
    if not values:
        return None
    return RecordReceipts(
        mrv_id=row.mrv_id,
        commitment=Digest("sha256", bytes.fromhex(row.hash)),
        batch=BatchProof.from_bytes(bytes(found.proof), what="the proof"),
        receipts={name: Receipt.from_json(value, what="a receipt") for name, value in values.items()},
    )


def _receipts(data: bytes) -> RecordReceipts:
    return RecordReceipts.from_json(parse_json(data, what="the receipts"), what="the receipts")


def _merged(before: RecordReceipts, given: RecordReceipts) -> RecordReceipts:
    """Add receipts to those that are there; of one network the one that is further along stays."""
    if before.anchored != given.anchored:
        raise _anchored_otherwise()
    merged = dict(before.receipts)
    for network, receipt in given.receipts.items():
        old = merged.get(network)
        if old is None or _STATE_ORDER.index(receipt.state) >= _STATE_ORDER.index(old.state):
            merged[network] = receipt
    return before.model_copy(update={"receipts": merged})


def _anchored_otherwise() -> ProblemError:
    return ProblemError(
        HTTPStatus.CONFLICT,
        "the record is anchored in another way: as a batch, or by itself",
        hint="keep these receipts beside the file; the registry has others",
    )


def _listed(connection: Connection, mrv_id: str) -> RecordSummary:
    row = connection.execute(_SUMMARY, {"mrv_id": mrv_id}).one_or_none()
    if row is None:
        raise _no_record()
    return _summary(row)


def _summary(row: Any) -> RecordSummary:
    return RecordSummary(
        mrv_id=row.mrv_id,
        hash=row.hash,
        schema_version=row.schema_version,
        experiment_name=row.experiment,
        model_name=row.model,
        dataset_name=row.dataset,
        status=row.status or None,
        ended_at=datetime.fromisoformat(row.ended_at),
        energy_uwh=row.energy_uwh,
        co2e_mg=row.co2e_mg,
        submitted_at=datetime.fromisoformat(row.submitted_at),
        networks=tuple(sorted({*(row.submitted or "").splitlines(), *(row.batched or "").splitlines()})),
        has_samples=row.sampled is not None,
    )


def _no_record() -> ProblemError:
    return ProblemError(HTTPStatus.NOT_FOUND, "there is no record of this id")
