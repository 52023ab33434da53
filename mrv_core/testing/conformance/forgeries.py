# SPDX-License-Identifier: MIT
"""Everything the suite does to an honest receipt, as plain functions for other tests to use."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel, SecretBytes, SecretStr

from mrv_core.hashing import Digest, HashFactory
from mrv_core.models import Receipt


def commitment_of(text: str) -> Digest:
    """Return a SHA-256 commitment that differs for each text."""
    return HashFactory.digest(text.encode(), "sha256")


def mutations(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield copies of a JSON value, each changed in one place, with a path that names the change.

    Strings get their first, middle and last character flipped, integers grow by one, booleans flip, every leaf
    becomes an empty list once, every key and element is removed once, every object and list gets one more.
    """
    if isinstance(value, dict):
        yield from _object_mutations(value)
    elif isinstance(value, list):
        yield from _list_mutations(value)
    else:
        yield from _leaf_mutations(value)


def _object_mutations(value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, child in value.items():
        for path, changed in mutations(child):
            yield f"/{key}{path}", {**value, key: changed}
        yield f"/{key} removed", {other: value[other] for other in value if other != key}
    yield "/unexpected added", {**value, "unexpected": 0}


def _list_mutations(value: list[Any]) -> Iterator[tuple[str, Any]]:
    for index, child in enumerate(value):
        for path, changed in mutations(child):
            yield f"/{index}{path}", [*value[:index], changed, *value[index + 1 :]]
        yield f"/{index} removed", value[:index] + value[index + 1 :]
    yield "/- added", [*value, *(value[-1:] or [""])]


def _leaf_mutations(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, str):
        for index in sorted({0, len(value) // 2, max(len(value) - 1, 0)}):
            yield (
                f" with character {index} flipped",
                value[:index] + _flip(value[index : index + 1]) + value[index + 1 :],
            )
    elif isinstance(value, bool):
        yield " flipped", not value
    elif isinstance(value, int):
        yield " plus one", value + 1
    elif isinstance(value, float):
        yield " another number", value / 2 if abs(value) > 1 else value + 1
    else:
        yield " no longer null", 0
    yield " of another type", []


def _flip(character: str) -> str:
    """Return another character, which hexadecimal, base32 and base64 text may contain, so that parsing goes on."""
    first, second = ("2", "3") if character.isdigit() else ("B", "C") if character.isupper() else ("b", "c")
    return second if character == first else first


def forgeries(receipt: Receipt) -> Iterator[tuple[str, Receipt]]:
    """Yield copies of a receipt, each with one claim changed, with the name of the change.

    `submitted_at` is left alone, being a claim of the submitter, and `state`, being recomputed.
    """
    commitment = receipt.commitment
    other = "blake3" if commitment.algorithm != "blake3" else "sha256"
    yield "commitment", altered(receipt, commitment=commitment_of("forged"))
    yield "commitment's algorithm", altered(receipt, commitment=Digest(other, commitment.value))
    yield "embedded", altered(receipt, embedded=not receipt.embedded)
    if receipt.block_time is None:
        yield "block_time", altered(receipt, block_time=datetime(2020, 1, 1, tzinfo=UTC))
    else:
        yield "block_time removed", altered(receipt, block_time=None)
        for seconds in (-1, 1, 86_400):
            yield (
                f"block_time {seconds:+} s",
                altered(receipt, block_time=receipt.block_time + timedelta(seconds=seconds)),
            )
    for field in ("network_id", "reference"):
        for path, changed in mutations(getattr(receipt, field)):
            if isinstance(changed, str):
                yield field + path, altered(receipt, **{field: changed})
    for path, changed in mutations(receipt.evidence):
        yield f"evidence{path}", altered(receipt, evidence=changed)


def secrets_in(value: Any) -> Iterator[str]:
    """Yield every secret text inside a settings model."""
    if isinstance(value, SecretStr | SecretBytes):
        secret = value.get_secret_value()
        yield secret if isinstance(secret, str) else secret.hex()
    elif isinstance(value, BaseModel):
        yield from secrets_in(dict(value))
    elif isinstance(value, dict):
        yield from secrets_in(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from secrets_in(item)


def altered(receipt: Receipt, **changes: Any) -> Receipt:
    """Return a copy of a receipt with some fields replaced, unchecked."""
    return receipt.model_copy(update=changes)
