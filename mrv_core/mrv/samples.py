# SPDX-License-Identifier: MIT
"""The power samples of a run: one line of text each, committed to as an RFC 9162 log (docs/spec/mrv-samples.md).

    end_ms,span_ms,cpu_mw,ram_mw
    1003,1003,8500,20000
    2004,1001,,20000

A line says what mean power each component drew, in mW, during the `span_ms` that ended `end_ms` after the start of the
run. An empty field was not measured. The file grows by a line as each sample is taken, so that a process that is killed
leaves what it measured. Every line without its line feed is a leaf, the head line the first of them.
"""

from __future__ import annotations

import fcntl
import os
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Final, Literal

from mrv_core.errors import FormatError, VerificationError
from mrv_core.files import PRIVATE_FILE, read_limited, storage_error
from mrv_core.hashing import Digest
from mrv_core.merkle import Frontier, LogTree, leaf_hash, root_from_inclusion, tree_root
from mrv_core.models import DigestField, Model
from mrv_core.mrv import units
from mrv_core.mrv.record import Component, Gap, Samples

MAX_SAMPLES_BYTES: Final = 256 * 1024 * 1024
"""Largest file that is read: some 80 days at one sample a second with three components."""
MAX_SECTIONS: Final = 256
"""Most sections in a record: what locates a change to 1/256 of the file, and costs a record 20 kB at most."""

_NUMBER = re.compile(r"0|[1-9][0-9]{0,14}")
_HEAD: Final = ("end_ms", "span_ms")
_UNIT: Final = "_mw"


@dataclass(frozen=True, slots=True)
class Sample:
    """One line.

    Attributes:
        end_ms: End of the time that it is about, since the start of the run.
        span_ms: Length of that time.
        powers_mw: Mean power in the order of the file's components; None where one was not measured.
    """

    end_ms: int
    span_ms: int
    powers_mw: tuple[int | None, ...]

    @property
    def start_ms(self) -> int:
        """Start of the time that it is about, since the start of the run."""
        return self.end_ms - self.span_ms

    def to_line(self) -> str:
        """Return the line without its line feed."""
        return ",".join(map(str, (self.end_ms, self.span_ms, *("" if p is None else p for p in self.powers_mw))))


class SampleWriter:
    """Appends samples to a new file, a line at a time.

    Args:
        path: The file; it must not exist.
        components: What the samples are of.

    Raises:
        StorageError: it exists, no permission, or no space.
    """

    def __init__(self, path: Path, components: Sequence[Component]) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, PRIVATE_FILE)
        except (OSError, ValueError) as error:
            raise storage_error("create", path, error) from error
        with suppress(OSError):  # some file systems have no locks
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # says that somebody is writing
        self._write(_head_line(components))

    def append(self, sample: Sample) -> None:
        """Add a line.

        Raises:
            StorageError: no space.
        """
        self._write(sample.to_line())

    def close(self) -> None:
        """Make the file survive a power cut.

        Raises:
            StorageError: no space.
        """
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise storage_error("write", self.path, error) from error
        finally:
            os.close(self._descriptor)

    def _write(self, line: str) -> None:
        data = f"{line}\n".encode()
        try:
            written = os.write(self._descriptor, data)
        except OSError as error:
            raise storage_error("write", self.path, error) from error
        if written != len(data):
            raise storage_error("write", self.path, OSError(28, os.strerror(28)))


@dataclass(frozen=True, slots=True)
class SampleFile:
    """A file of samples that was read.

    Attributes:
        components: What the samples are of, in their order.
        samples: In the order of time; none overlaps the one before it.
        lines: The leaves of the log: every line without its line feed, the head line first.
    """

    components: tuple[Component, ...]
    samples: tuple[Sample, ...]
    lines: tuple[bytes, ...]
    _sums: dict[Component, _Sums] = field(default_factory=dict, repr=False, compare=False)

    def summary(self) -> Samples:
        """Return what a record says of the file."""
        leaves = section_size(len(self.lines))
        roots = [tree_root(section) for section in _sections(self.lines, leaves)]
        return Samples(
            format="mrv-samples/1",
            size=len(self.lines),
            root=Digest("sha256", root_of_sections(roots)),
            section_size=leaves,
            sections=tuple(Digest("sha256", root) for root in roots),
        )

    def energy_uj(self, component: Component, start_ms: int = 0, end_ms: int | None = None) -> int | None:
        """Integrate the power of a component over a time; None where none of it was measured.

        A sample that lies partly in that time counts with that part of its span.

        Returns:
            Energy in µJ, exactly.
        """
        if component not in self._sums:
            self._sums[component] = _Sums(self.samples, self.components.index(component))
        return self._sums[component].energy_uj(start_ms, end_ms)

    def total_uwh(self, start_ms: int = 0, end_ms: int | None = None) -> int | None:
        """Integrate the power of all components over a time, in µWh; None where none of it was measured."""
        found = units.total(self.energy_uj(component, start_ms, end_ms) for component in self.components)
        return None if found is None else units.uwh(found)

    def gaps(self, duration_ms: int, reasons: dict[Component, str]) -> tuple[Gap, ...]:
        """Return the times for which a component that is measured has no power.

        Args:
            duration_ms: End of the run.
            reasons: Why a component could not be read, where that is known.
        """
        holes = self._holes(duration_ms)
        found = [Gap(component=None, start_ms=start, end_ms=end, reason=why) for start, end, why in holes]
        for index, component in enumerate(self.components):
            reason = reasons.get(component, "it could not be read")
            for start, end in self._missing(index):
                found.append(Gap(component=component, start_ms=start, end_ms=end, reason=reason))
        return tuple(found)

    def _holes(self, duration_ms: int) -> Iterator[tuple[int, int, str]]:
        """Yield the times without any sample."""
        last, why = 0, "the hardware was being detected"
        for sample in self.samples:
            if sample.start_ms > last:
                yield last, sample.start_ms, why
            last, why = sample.end_ms, "no sample was taken"
        if duration_ms > last:
            yield last, duration_ms, why if not self.samples else "the last sample was not taken"

    def _missing(self, index: int) -> Iterator[tuple[int, int]]:
        start: int | None = None
        end = 0
        for sample in self.samples:
            if sample.powers_mw[index] is None:
                start = sample.start_ms if start is None else start
                end = sample.end_ms
            elif start is not None:
                yield start, end
                start = None
        if start is not None:
            yield start, end


class _Sums:
    """Sums of the energy of one component up to each sample, so that any time of a long run costs two searches."""

    def __init__(self, samples: Sequence[Sample], index: int) -> None:
        self._starts = [sample.start_ms for sample in samples]
        self._ends = [sample.end_ms for sample in samples]
        self._powers = [sample.powers_mw[index] for sample in samples]
        spans = [
            0 if power is None else power * sample.span_ms for power, sample in zip(self._powers, samples, strict=True)
        ]
        self._energies = list(accumulate(spans, initial=0))
        self._measured = list(accumulate((power is not None for power in self._powers), initial=0))

    def energy_uj(self, start_ms: int, end_ms: int | None) -> int | None:
        """Return the energy in a time, see `SampleFile.energy_uj`."""
        end = end_ms if end_ms is not None else self._ends[-1] if self._ends else 0
        first, behind = bisect_right(self._ends, start_ms), bisect_left(self._starts, end)
        if end <= start_ms or self._measured[behind] <= self._measured[first]:
            return None
        total = self._energies[behind] - self._energies[first]
        # What of the first and of the last sample is outside.
        total -= (self._powers[first] or 0) * max(0, start_ms - self._starts[first])
        return total - (self._powers[behind - 1] or 0) * max(0, self._ends[behind - 1] - end)


class SampleProof(Model):
    """One disclosed sample, and its place in the log that a record commits to.

    Attributes:
        format: Version of this format.
        mrv_id: The record.
        record: SHA-256 of the record's bytes.
        head: The head line, which says what the numbers are of.
        head_path: Inclusion path of the head line, leaf 0; SHA-256, hexadecimal.
        index: Leaf index of the sample.
        line: Its line.
        path: Its inclusion path (RFC 9162, section 2.1.3).
    """

    format: Literal["mrv-sample-proof/1"] = "mrv-sample-proof/1"
    mrv_id: str
    record: DigestField
    head: str
    head_path: tuple[str, ...]
    index: int
    line: str
    path: tuple[str, ...]


def prove_sample(file: SampleFile, at_ms: int, *, mrv_id: str, record: Digest) -> SampleProof:
    """Disclose the sample that a moment lies in, and nothing of the others but hashes.

    Args:
        file: All samples.
        at_ms: The moment, since the start of the run.
        mrv_id: Id of the record.
        record: SHA-256 of the record's bytes.

    Raises:
        FormatError: no sample was taken then.
    """
    for index, sample in enumerate(file.samples, 1):
        if sample.start_ms <= at_ms < sample.end_ms:
            tree = LogTree(file.lines)
            return SampleProof(
                mrv_id=mrv_id,
                record=record,
                head=file.lines[0].decode(),
                head_path=tuple(each.hex() for each in tree.inclusion_proof(0)),
                index=index,
                line=file.lines[index].decode(),
                path=tuple(each.hex() for each in tree.inclusion_proof(index)),
            )
    raise FormatError(f"no sample was taken at {at_ms} ms", hint="the record's gaps say when nothing was measured")


def verify_sample_proof(proof: SampleProof, samples: Samples) -> tuple[tuple[Component, ...], Sample]:
    """Check a disclosed sample against what a record says of its samples.

    Returns:
        The components, and the sample.

    Raises:
        FormatError: the lines are no lines of such a file.
        VerificationError: they are not in the log.
    """
    for line, index, path in ((proof.head, 0, proof.head_path), (proof.line, proof.index, proof.path)):
        try:
            hashes = [bytes.fromhex(each) for each in path]
        except ValueError:
            raise FormatError("the path of a sample's proof is not hexadecimal") from None
        root = root_from_inclusion(leaf_hash(line.encode()), index, samples.size, hashes)
        if root != samples.root.value:
            raise VerificationError(f"the sample is not in the log of the record: {line[:100]!r}")
    if proof.index < 1:
        raise VerificationError("the head line is no sample")
    components = _parse_head(proof.head, "the proof")
    return components, _parse_line(proof.line, len(components), f"the proof's line {proof.index}")


def read_samples(path: Path) -> SampleFile:
    """Read a file of samples.

    Raises:
        StorageError: missing or unreadable.
        FormatError: not such a file; the message names the line.
    """
    return parse_samples(read_limited(path, MAX_SAMPLES_BYTES), what=str(path))


def parse_samples(data: bytes, *, what: str) -> SampleFile:
    """Parse the bytes of a file of samples; there is exactly one way to write each.

    Args:
        data: The file's bytes.
        what: Name of the file for error messages.

    Raises:
        FormatError: not such a file; the message names the line.
    """
    if not data.endswith(b"\n"):
        raise FormatError(f"{what}: the last line is cut off")
    try:
        text = data[:-1].decode("ascii")
    except UnicodeDecodeError as error:
        raise FormatError(f"{what}: not ASCII at byte {error.start}") from None
    lines = text.split("\n")
    components = _parse_head(lines[0], what)
    samples: list[Sample] = []
    last = 0
    for number, line in enumerate(lines[1:], 2):
        sample = _parse_line(line, len(components), f"{what} line {number}")
        if sample.start_ms < last:
            raise FormatError(f"{what} line {number}: begins {last - sample.start_ms} ms before the one above it ends")
        last = sample.end_ms
        samples.append(sample)
    return SampleFile(components, tuple(samples), tuple(line.encode() for line in lines))


def section_size(lines: int) -> int:
    """Return how many leaves a section has: the least power of two that makes at most `MAX_SECTIONS` of them."""
    size = 1
    while -(-lines // size) > MAX_SECTIONS:
        size *= 2
    return size


def root_of_sections(roots: Sequence[bytes]) -> bytes:
    """Return the root of a log from those of its sections, each of as many leaves and the last of fewer.

    Sections of a power of two are complete subtrees, so that the root over them is the root over the leaves.
    """
    frontier = Frontier()
    for root in roots:
        frontier.append_leaf(root)
    return frontier.root()


def changed_sections(file: SampleFile, samples: Samples) -> list[tuple[int, int]]:
    """Return which lines of a file are not those that a record commits to: first and last line numbers from 1.

    Lines that were added or removed change every section behind them.
    """
    expected = [digest.value for digest in samples.sections]
    found = [tree_root(section) for section in _sections(file.lines, samples.section_size)]
    size = samples.section_size
    return [
        (index * size + 1, min((index + 1) * size, max(samples.size, len(file.lines))))
        for index in range(max(len(expected), len(found)))
        if index >= min(len(expected), len(found)) or expected[index] != found[index]
    ]


def _sections(lines: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    return (lines[start : start + size] for start in range(0, len(lines), size))


def _head_line(components: Sequence[Component]) -> str:
    return ",".join((*_HEAD, *(f"{component}{_UNIT}" for component in components)))


def _parse_head(line: str, what: str) -> tuple[Component, ...]:
    names = line.split(",")
    try:
        components = tuple(Component(name.removesuffix(_UNIT)) for name in names[2:])
    except ValueError:
        raise FormatError(f"{what} line 1: not the head of a file of samples") from None
    if line != _head_line(components) or len(set(components)) != len(components) or not components:
        raise FormatError(f"{what} line 1: not the head of a file of samples")
    return components


def _parse_line(line: str, components: int, place: str) -> Sample:
    fields = line.split(",")
    if len(fields) != 2 + components:
        raise FormatError(f"{place}: {len(fields)} numbers where there must be {2 + components}")
    for index, text in enumerate(fields):
        if not _NUMBER.fullmatch(text) and (text or index < len(_HEAD)):
            raise FormatError(f"{place}: {text[:40]!r} is no number")
    end, span = int(fields[0]), int(fields[1])
    if not 0 < span <= end:
        raise FormatError(f"{place}: a span of {span} ms that ends at {end} ms")
    return Sample(end, span, tuple(int(text) if text else None for text in fields[2:]))


def energy_uwh(file: SampleFile, component: Component, start_ms: int = 0, end_ms: int | None = None) -> int | None:
    """Integrate as `SampleFile.energy_uj` does, in µWh."""
    energy = file.energy_uj(component, start_ms, end_ms)
    return None if energy is None else units.uwh(energy)
