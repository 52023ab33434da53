# SPDX-License-Identifier: MIT
"""Alarms: when a verification is cause for one, and how somebody hears of it: the log, a webhook, a metric.

Each teller is told by itself, and at least once: what a kill or a webhook that does not answer kept back is told again.
An alarm that ended before a teller heard of it is not told to it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from html import escape
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from sqlalchemy import func, select, update

from mrv_core.canonical import canonical_bytes
from mrv_core.errors import BackendError, ConfigurationError, FormatError
from mrv_core.failpoint import failpoint
from mrv_core.models import Verdict
from mrv_core.transport import HttpTransport
from mrv_service.database import Database
from mrv_service.tables import verifications
from mrv_service.verifications import WITHOUT_REPORT, of

_logger = logging.getLogger(__name__)

_AT_ONCE: Final = frozenset({Verdict.TAMPERED, Verdict.DISAGREE})
_MOST_AT_ONCE: Final = 20
_TIMEOUT_S: Final = 10.0
_MAX_REPLY_BYTES: Final = 64 * 1024


def alarm_of(
    verdict: Verdict,
    now: datetime,
    *,
    on: Verdict | None,
    valid_at: datetime | None,
    failing_since: datetime,
    enrolled_at: datetime | None,
    every: timedelta,
) -> Verdict | None:
    """Return the verdict that is cause for alarm, or None.

    Something wrong always is. Something that cannot be found is where it was VALID before. Whatever else is not VALID
    is where it was not for longer than two turns, and no check of more than one turn found it VALID: a network that is
    away for an hour is none, nor is it in the first hour after a watcher was off for a week. Only VALID ends an alarm.

    Args:
        verdict: What was found.
        now: When.
        on: The alarm that is on, or None.
        valid_at: When the verdict was VALID last, or None.
        failing_since: When the first of the checks was that found something else, without one that is VALID between.
        enrolled_at: Since when it has its turns; None for what nobody anchored.
        every: Between two turns.
    """
    if verdict is Verdict.VALID:
        return None
    if verdict in _AT_ONCE or (verdict is Verdict.NOT_FOUND and (valid_at is not None or on is not None)):
        return verdict
    if on is not None:
        return on
    since = valid_at or enrolled_at
    return verdict if since is not None and now - since > 2 * every and now - failing_since > every else None


class Teller(Protocol):
    """Whom alarms are told to.

    Attributes:
        column: Name of the column with what it was told last of each.
    """

    column: str

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

    column = "logged"

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

    column = "posted"

    def __init__(self, url: str) -> None:
        # The transport takes a slash at the end for no part of the path.
        self._path = "/" if urlsplit(url).path.endswith("/") else ""
        try:
            self._transport = HttpTransport(url, timeout_s=_TIMEOUT_S, max_bytes=_MAX_REPLY_BYTES)
        except FormatError as error:
            raise ConfigurationError(f"webhook: {error.message}", hint=error.hint) from error

    def tell(self, begun: Sequence[dict[str, Any]], ended: Sequence[dict[str, Any]]) -> None:
        """See `Teller.tell`."""
        lines = [f"{each['kind']} {each['name']} is {each['verdict']}: {each['summary']}" for each in begun]
        lines += [f"{each['kind']} {each['name']} is {each['verdict']}, and no alarm any more" for each in ended]
        text = escape("\n".join(lines), quote=False)  # an id such as <!channel> would call everybody
        document = {"format": "mrv-alarms/1", "text": text, "begun": list(begun), "ended": list(ended)}
        body, headers = canonical_bytes(document), {"Content-Type": "application/json"}
        response = self._transport.request("POST", self._path, body=body, headers=headers)
        if not 200 <= response.status < 300:
            raise self._transport.refusal(response)


def tell_alarms(database: Database, tellers: Sequence[Teller]) -> int:
    """Tell everybody of the alarms that they were not told of, and return how many messages that took.

    Raises:
        BackendError: a teller could not, or the database; what was to be told stays untold, and the others heard it.
        StorageError: the database cannot be used.
    """
    messages = 0
    failed: BackendError | None = None
    for teller in tellers:
        try:
            while _tell_some(database, teller):
                messages += 1
        except BackendError as error:
            failed = error
    if failed is not None:
        raise failed
    return messages


def _tell_some(database: Database, teller: Teller) -> bool:
    """Tell of some alarms, and tell whether there were any."""
    told = verifications.c[teller.column]
    untold = func.coalesce(verifications.c.alarm, "") != func.coalesce(told, "")
    with database.read() as connection:
        rows = connection.execute(
            select(*WITHOUT_REPORT, told)
            .where(untold)
            .order_by(verifications.c.kind, verifications.c.name)
            .limit(_MOST_AT_ONCE)
        ).all()
    if not rows:
        return False
    begun, ended = ([_fact(row) for row in rows if (row.alarm is not None) is is_on] for is_on in (True, False))
    teller.tell(begun, ended)
    failpoint("watcher.told")
    with database.write() as connection:
        for row in rows:
            this = of(row.kind, row.name)
            connection.execute(update(verifications).where(this).values({teller.column: row.alarm}))
    return True


def _fact(row: Any) -> dict[str, Any]:
    """Return what is told: the alarm, or that it ended, either of which can be of an earlier check than the newest."""
    facts = {name: getattr(row, name) for name in ("kind", "name", "verdict", "summary", "checked_at", "valid_at")}
    told = row.alarm or str(Verdict.VALID)  # which alone ends an alarm
    if told == row.verdict:
        return facts
    return {**facts, "verdict": told, "summary": f"found earlier; now {row.verdict}: {row.summary}"}
