# SPDX-License-Identifier: MIT
"""Alarms: when a verification is cause for one, and how somebody hears of it: the log, a webhook, a metric.

Each is told at least once. One that a kill or a webhook that does not answer kept back is told again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from sqlalchemy import Row, func, select, update

from mrv_core.canonical import canonical_bytes
from mrv_core.errors import BackendError, ConfigurationError, FormatError
from mrv_core.failpoint import failpoint
from mrv_core.models import Verdict
from mrv_core.transport import HttpTransport
from mrv_service.database import Database
from mrv_service.tables import verifications

_logger = logging.getLogger(__name__)

_AT_ONCE: Final = frozenset({Verdict.TAMPERED, Verdict.DISAGREE})
_MOST_AT_ONCE: Final = 100
_TIMEOUT_S: Final = 10.0
_MAX_REPLY_BYTES: Final = 64 * 1024


def alarm_of(verdict: Verdict, now: datetime, valid_at: datetime | None, every: timedelta) -> Verdict | None:
    """Return the verdict where it is cause for alarm, or None.

    Something wrong always is. Something that cannot be found is where it was VALID before, and something that cannot be
    checked where it could not be for longer than two turns: a network that is away for an hour is none.
    """
    if verdict in _AT_ONCE:
        return verdict
    if valid_at is None:
        return None
    if verdict is Verdict.NOT_FOUND or (verdict is Verdict.UNREACHABLE and now - valid_at > 2 * every):
        return verdict
    return None


class Teller(Protocol):
    """Whom alarms are told to."""

    def tell(self, begun: Sequence[dict[str, Any]], ended: Sequence[dict[str, Any]]) -> None:
        """Tell of alarms.

        Args:
            begun: Those that are new or changed: `kind`, `name`, `verdict`, `summary`, `checked_at` and `valid_at`.
            ended: Those that are over.

        Raises:
            BackendError: nobody heard it.
        """


class Log:
    """Writes alarms to the log of this process."""

    def tell(self, begun: Sequence[dict[str, Any]], ended: Sequence[dict[str, Any]]) -> None:
        """See `Teller.tell`."""
        for each in begun:
            _logger.error("alarm: %s %s is %s: %s", each["kind"], each["name"], each["verdict"], each["summary"])
        for each in ended:
            _logger.warning("alarm ended: %s %s is %s", each["kind"], each["name"], each["verdict"])


class Webhook:
    """Posts alarms to a URL as JSON; its `text` is what chat programs show.

    Args:
        url: Where to; the operator's, and nobody else's. Its path and query may be a secret, and are never shown.

    Raises:
        ConfigurationError: the URL cannot be used.
    """

    def __init__(self, url: str) -> None:
        try:
            self._transport = HttpTransport(url, timeout_s=_TIMEOUT_S, max_bytes=_MAX_REPLY_BYTES)
        except FormatError as error:
            raise ConfigurationError(f"webhook: {error.message}", hint=error.hint) from error

    def tell(self, begun: Sequence[dict[str, Any]], ended: Sequence[dict[str, Any]]) -> None:
        """See `Teller.tell`."""
        lines = [f"{each['kind']} {each['name']} is {each['verdict']}: {each['summary']}" for each in begun]
        lines += [f"{each['kind']} {each['name']} is {each['verdict']} again" for each in ended]
        document = {"format": "mrv-alarms/1", "text": "\n".join(lines), "begun": list(begun), "ended": list(ended)}
        body, headers = canonical_bytes(document), {"Content-Type": "application/json"}
        response = self._transport.request("POST", body=body, headers=headers)
        if not 200 <= response.status < 300:
            raise self._transport.refusal(response)


def tell_alarms(database: Database, tellers: Sequence[Teller]) -> int:
    """Tell of the alarms that nobody was told of, and return how many there were.

    Raises:
        BackendError: a teller could not; what it was to tell stays untold.
        BackendUnavailableError, StorageError: the database cannot be used.
    """
    rows = _untold(database)
    if not rows:
        return 0
    begun, ended = ([_fact(row) for row in rows if (row.alarm is not None) is is_on] for is_on in (True, False))
    failed: BackendError | None = None
    for teller in tellers:  # one that fails keeps no other from it
        try:
            teller.tell(begun, ended)
        except BackendError as error:
            failed = error
    if failed is not None:
        raise failed
    failpoint("watcher.told")
    with database.write() as connection:
        for row in rows:
            told = (verifications.c.kind == row.kind, verifications.c.name == row.name)
            connection.execute(update(verifications).where(*told).values(told=row.alarm))
    return len(rows)


def _untold(database: Database) -> Sequence[Row[Any]]:
    alarm, told = (func.coalesce(verifications.c[name], "") for name in ("alarm", "told"))
    with database.read() as connection:
        return connection.execute(
            select(*(column for column in verifications.c if column.name != "report"))
            .where(alarm != told)
            .order_by(verifications.c.kind, verifications.c.name)
            .limit(_MOST_AT_ONCE)
        ).all()


def _fact(row: Row[Any]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("kind", "name", "verdict", "summary", "checked_at", "valid_at")}
