# SPDX-License-Identifier: MIT
"""API tokens: `mrv_<id>_<secret>`. The database keeps the SHA-256 of the secret alone, which has 256 random bits."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Row, bindparam, insert, select, update

from mrv_core.errors import ConfigurationError
from mrv_core.models import format_time, utc_now
from mrv_service.database import Database
from mrv_service.tables import tokens

_TOKEN: Final = re.compile(r"mrv_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_MAX_NAME: Final = 200
_BY_ID: Final = select(tokens).where(tokens.c.id == bindparam("id"))


class Scope(StrEnum):
    """What a token allows."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token.

    Attributes:
        id: Its public part, 12 hexadecimal digits.
        name: What it is for.
        scopes: What it allows.
        created_at: When it was made.
        revoked_at: Since when it allows nothing, or None.
    """

    id: str
    name: str
    scopes: frozenset[Scope]
    created_at: str
    revoked_at: str | None


def create(database: Database, name: str, scopes: Collection[Scope]) -> tuple[Token, str]:
    """Make a token; return it, and the text that is shown once and kept nowhere.

    Raises:
        ConfigurationError: no name, or no scope.
    """
    if not 0 < len(name) <= _MAX_NAME or not name.isprintable():
        raise ConfigurationError(f"a token has a name of 1 to {_MAX_NAME} printable characters")
    if not scopes:
        raise ConfigurationError("a token has a scope", hint=f"scopes: {', '.join(Scope)}")
    token = Token(secrets.token_hex(6), name, frozenset(scopes), format_time(utc_now()), None)
    secret = secrets.token_urlsafe(32)
    with database.write() as connection:
        connection.execute(
            insert(tokens).values(
                id=token.id,
                name=name,
                hash=_hash(secret),
                scopes=" ".join(sorted(token.scopes)),
                created_at=token.created_at,
            )
        )
    return token, f"mrv_{token.id}_{secret}"


def revoke(database: Database, token_id: str) -> bool:
    """Revoke a token for good; False where there is none with this id, or it was revoked before."""
    with database.write() as connection:
        changed = connection.execute(
            update(tokens)
            .where(tokens.c.id == token_id, tokens.c.revoked_at.is_(None))
            .values(revoked_at=format_time(utc_now()))
        )
        return changed.rowcount == 1


def all_tokens(database: Database) -> list[Token]:
    """Return all tokens, the oldest first."""
    with database.read() as connection:
        rows = connection.execute(select(tokens).order_by(tokens.c.created_at, tokens.c.id)).all()
    return [_token(row) for row in rows]


def find(database: Database, text: str) -> Token | None:
    """Return the token that a text is, or None where it is none that allows anything."""
    parts = _TOKEN.fullmatch(text)
    if parts is None:
        return None
    with database.read() as connection:
        row = connection.execute(_BY_ID, {"id": parts[1]}).one_or_none()
    if row is None or not hmac.compare_digest(row.hash, _hash(parts[2])) or row.revoked_at is not None:
        return None
    return _token(row)


def _token(row: Row[Any]) -> Token:
    scopes = frozenset(Scope(scope) for scope in row.scopes.split())
    return Token(row.id, row.name, scopes, row.created_at, row.revoked_at)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
