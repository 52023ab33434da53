# SPDX-License-Identifier: MIT
"""Auditing a registry: that its log only grows (RFC 9162), and that it gives out the records that somebody has.

Whoever keeps the newest head that a registry showed can have it prove that every entry up to there is still in its log,
unchanged and in the same order. Two people compare their heads to see that they are shown the same.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, Protocol
from urllib.parse import quote

from mrv_core.canonical import canonical_bytes, parse_json
from mrv_core.errors import BackendError, ConfigurationError, FormatError, StorageError, VerificationError
from mrv_core.files import read_limited, storage_error, write_atomic
from mrv_core.hashing import Digest
from mrv_core.merkle import EMPTY_ROOT, leaf_hash, verify_consistency, verify_inclusion
from mrv_core.models import DigestField, Model, TimeField, Verdict, utc_now
from mrv_core.mrv.storage import read_record_file
from mrv_core.mrv.verification import read_record
from mrv_core.progress import Progress
from mrv_core.verification import worst

_LOG: Final = "log"
_LOCK_S: Final = 10.0
_POLL_S: Final = 0.05
MAX_HEAD_BYTES: Final = 64 * 1024
"""Largest file with a head that is read."""


def log_entry(kind: str, name: str, hash: str) -> bytes:
    """Return the entry of a registry's log for something that it accepted: canonical JSON (RFC 8785).

    Args:
        kind: `record` or `bundle`.
        name: Id of the record, or SHA-256 of the bundle.
        hash: SHA-256 that is anchored of a record, or that of the bundle; hexadecimal.
    """
    return canonical_bytes({"hash": hash, "kind": kind, "name": name})


class RegistryHead(Model):
    """A head of a registry's log, as somebody saw it.

    Attributes:
        format: Version of this format.
        registry: Scheme, host and port of the registry.
        size: Entries of the log.
        root: Root of the tree over them.
        seen_at: When, by the clock of who saw it.
    """

    format: Literal["mrv-registry-head/1"] = "mrv-registry-head/1"
    registry: str
    size: int
    root: DigestField
    seen_at: TimeField


class AuditStep(Model):
    """One thing that was checked.

    Attributes:
        subject: `log`, or the file of a record.
        verdict: What came of it.
        detail: In words.
    """

    subject: str
    verdict: Verdict
    detail: str


class AuditReport(Model):
    """What one audit found.

    Attributes:
        format: Version of this format.
        verdict: The worst of the steps.
        head: What the registry showed now; null where it could not be asked.
        before: What it is compared with; null the first time.
        steps: The log first, then each record.
    """

    format: Literal["mrv-registry-audit/1"] = "mrv-registry-audit/1"
    verdict: Verdict
    head: RegistryHead | None
    before: RegistryHead | None
    steps: tuple[AuditStep, ...]


class Asks(Protocol):
    """Asks a registry; see `mrv_core.mrv.registry_client.RegistryClient`."""

    @property
    def name(self) -> str:
        """Scheme, host and port."""

    def fetch(self, path: str) -> Any:
        """Return the JSON of a path under the API, or None where the registry has no such thing.

        Raises:
            BackendError: it could not be asked, or does not answer the question.
        """

    def fetch_bytes(self, path: str) -> bytes | None:
        """Return the bytes of a path in the same way."""


def read_head(path: Path) -> RegistryHead | None:
    """Return the head that was kept, or None where there is no file yet.

    Raises:
        StorageError: unreadable.
        FormatError: not such a file.
    """
    if not path.exists() and not path.is_symlink():
        return None
    data = read_limited(path, MAX_HEAD_BYTES)
    head = RegistryHead.from_json(parse_json(data, what=str(path), max_bytes=MAX_HEAD_BYTES), what=str(path))
    if not _fits(head):
        raise FormatError(f"{path}: its size and root do not fit each other")
    return head


def audit(registry: Asks, kept: Path, records: Sequence[Path]) -> AuditReport:
    """Compare a registry with the head that was kept of it, look for records in it, and keep its new head.

    Args:
        registry: Whom to ask.
        kept: File of the head; it is written where all that was shown holds, and left alone otherwise.
        records: Files of records that must be in the registry's log.

    Raises:
        ConfigurationError: the file is of another registry.
        FormatError, StorageError: a file cannot be read. One that cannot be written is in the report.
    """
    before = read_head(kept)
    if before is not None and before.registry != registry.name:
        raise ConfigurationError(f"{kept} is the head of {before.registry}, not of {registry.name}")
    known = [(str(path), *read_record(read_record_file(path), what=str(path))) for path in records]
    try:
        head = _head(registry)
        log = _grown(registry, head, before)
    except BackendError as error:
        return _report(None, before, [_step(_LOG, Verdict.UNREACHABLE, error.message)])
    except VerificationError as error:
        return _report(head, before, [_step(_LOG, Verdict.TAMPERED, error.message)])
    steps = []
    with Progress().task("asking for records", total=len(known), unit="records") as task:
        for path, record, commitment in known:
            steps.append(_find(registry, head, path, record.mrv_id, commitment))
            task.advance(1)
    if all(step.verdict is not Verdict.TAMPERED for step in steps):
        try:
            _keep(kept, before, head)
        except (FormatError, StorageError) as error:  # what was found is said all the same
            steps.append(_step(str(kept), Verdict.UNREACHABLE, f"the head could not be kept: {error.message}"))
    return _report(head, before, [_step(_LOG, Verdict.VALID, log), *steps])


def _keep(path: Path, before: RegistryHead | None, head: RegistryHead) -> None:
    """Write a head in the place of the one that it was compared with, which another audit may have replaced meanwhile.

    Raises:
        StorageError: it was replaced, or the file cannot be written.
        FormatError: something else was written there.
    """
    try:
        folder = os.open(path.absolute().parent, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise storage_error("write", path, error) from error
    try:
        _lock(path, folder)  # until the descriptor is closed
        if read_head(path) != before:
            raise StorageError("another audit kept a head at the same time", hint="run it again")
        write_atomic(path, head.to_bytes())
    finally:
        os.close(folder)


def _lock(path: Path, folder: int) -> None:
    """Lock a file's folder; whoever may read it can hold the lock, and must not keep what was found from being said.

    Raises:
        StorageError: somebody else holds it for too long, or it cannot be locked.
    """
    ends = time.monotonic() + _LOCK_S
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > ends:
                raise StorageError("its folder is locked by another program", hint="run it again") from None
            time.sleep(_POLL_S)
        except OSError as error:
            raise storage_error("lock", path, error) from error


def _report(head: RegistryHead | None, before: RegistryHead | None, steps: Sequence[AuditStep]) -> AuditReport:
    return AuditReport(verdict=worst([each.verdict for each in steps]), head=head, before=before, steps=tuple(steps))


def _head(registry: Asks) -> RegistryHead:
    shown = _member(registry.fetch("log"), {"size": int, "root": str})
    head = RegistryHead(registry=registry.name, size=shown["size"], root=_sha256(shown["root"]), seen_at=utc_now())
    if not _fits(head):
        raise BackendError("the registry's answer is none of a log", hint="size and root do not fit each other")
    return head


def _fits(head: RegistryHead) -> bool:
    """Tell whether there can be a log of this size and root."""
    is_empty = head.root.value == EMPTY_ROOT
    return head.root.algorithm == "sha256" and (head.size == 0 if is_empty else head.size > 0)


def _grown(registry: Asks, head: RegistryHead, before: RegistryHead | None) -> str:
    """Check that a head goes on from another, and say so."""
    if before is None:
        return f"{head.size} entries; this head is the first that was kept, so it is compared with nothing"
    if head.size < before.size:
        raise VerificationError(
            f"the registry shows {head.size} entries, and showed {before.size} on {before.seen_at:%Y-%m-%d %H:%M} UTC"
        )
    if before.size > 0:
        proven = f"log/consistency?first={before.size}&second={head.size}"
        path = _path(registry, proven) if head.size > before.size else []
        verify_consistency(before.size, head.size, before.root.value, head.root.value, path)
    return f"{head.size} entries; the {before.size} of {before.seen_at:%Y-%m-%d %H:%M} UTC are among them, unchanged"


def _find(registry: Asks, head: RegistryHead, subject: str, mrv_id: str, commitment: Digest) -> AuditStep:
    place = f"records/{quote(mrv_id, safe='')}"
    try:
        answer = registry.fetch(f"{place}/inclusion?size={head.size}") if head.size > 0 else None
        if answer is None:
            return _step(subject, Verdict.NOT_FOUND, f"{mrv_id} is not in the registry's log")
        proof = _member(answer, {"index": int, "size": int, "path": list})
        leaf = leaf_hash(log_entry("record", mrv_id, commitment.hex))
        verify_inclusion(leaf, proof["index"], head.size, _hashes(proof["path"]), head.root.value)
        data = registry.fetch_bytes(f"{place}/content")
        if data is None:
            return _step(subject, Verdict.NOT_FOUND, f"{mrv_id} is in the registry's log, and the registry hides it")
        if _commitment(data) != commitment:
            return _step(subject, Verdict.TAMPERED, f"{mrv_id}: what the registry gives out is not what is in its log")
    except BackendError as error:
        return _step(subject, Verdict.UNREACHABLE, error.message)
    except VerificationError as error:
        detail = f"{mrv_id} with this hash is not in the registry's log: {error.message}"
        return _step(subject, Verdict.TAMPERED, detail)
    return _step(subject, Verdict.VALID, f"{mrv_id} is entry {proof['index']} of the registry's log, with this hash")


def _commitment(data: bytes) -> Digest | None:
    """Return the hash that is anchored of a record, or None where it is none."""
    try:
        return read_record(data, what="the registry's record")[1]
    except FormatError:
        return None


def _step(subject: str, verdict: Verdict, detail: str) -> AuditStep:
    return AuditStep(subject=subject, verdict=verdict, detail=detail)


def _path(registry: Asks, path: str) -> list[bytes]:
    answer = registry.fetch(path)
    if answer is None:
        raise BackendError(f"{registry.name} gives no proof that it is unchanged")
    return _hashes(_member(answer, {"first": int, "second": int, "path": list})["path"])


def _member(answer: Any, kinds: dict[str, type]) -> dict[str, Any]:
    """Return an answer that has these members of these types.

    Raises:
        BackendError: it has not.
    """
    if isinstance(answer, dict) and all(type(answer.get(name)) is kind for name, kind in kinds.items()):
        return answer
    raise BackendError("the registry's answer is none of a log", hint="is it a registry, and of this version?")


def _hashes(values: Sequence[Any]) -> list[bytes]:
    try:
        return [bytes.fromhex(value) for value in values]
    except (TypeError, ValueError):
        raise VerificationError("a proof has something else than hashes") from None


def _sha256(text: str) -> Digest:
    try:
        digest = Digest.parse(text)
    except FormatError:
        raise BackendError("the registry's answer is none of a log") from None
    if digest.algorithm != "sha256":
        raise BackendError("the registry's log is of another hash function than SHA-256")
    return digest
