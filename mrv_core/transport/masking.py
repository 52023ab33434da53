# SPDX-License-Identifier: MIT
"""Taking a server's credentials out of whatever the server says about them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import SplitResult, parse_qsl, quote, unquote

MAX_TEXT: Final = 300
"""Characters of somebody else's text that are shown: enough to act on."""
_MAX_SEARCHED: Final = 1024 * 1024
_SHORTEST_SECRET: Final = 4
"""Anything shorter is in every text; masking it would hide nothing and garble everything."""
_SHORTEST_KEY: Final = 8


def url_secrets(parts: SplitResult) -> Iterator[str]:
    """Yield what a URL may hold in confidence: user, password, query, and parts of the path that may be API keys."""
    if "@" in parts.netloc:
        yield parts.netloc.rpartition("@")[0]
        yield from filter(None, (parts.username, parts.password))
    yield parts.query
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        yield value or name
    yield from (part for part in parts.path.split("/") if len(part) >= _SHORTEST_KEY)


def one_line(text: str, longest: int = MAX_TEXT) -> str:
    """Return text as one printable line without excess."""
    shown = "".join(c if c.isprintable() else " " for c in text[: 4 * longest])
    return " ".join(shown.split())[:longest]


class Mask:
    """Replaces secrets in texts, however they are escaped or capitalised there.

    Args:
        secrets: What must not be shown.
        shown: What is shown anyway and may contain a secret, for instance a password that is a host's name.
    """

    def __init__(self, secrets: Iterable[str], *, shown: str) -> None:
        plain = {form for secret in secrets for form in (secret, unquote(secret))}
        forms = plain | {quote(form, safe="") for form in plain}
        hidden = sorted((form for form in forms if len(form) >= _SHORTEST_SECRET), key=len, reverse=True)
        kept = [re.escape(form) for form in hidden if form.lower() not in shown.lower()]
        self._pattern = re.compile("|".join(kept), re.IGNORECASE) if kept else None

    def __repr__(self) -> str:
        return "Mask(***)"

    def __call__(self, text: str, longest: int = MAX_TEXT) -> str:
        """Return somebody else's text as one line of at most `longest` characters without the secrets."""
        text = text[:_MAX_SEARCHED]
        return one_line(self._pattern.sub("***", text) if self._pattern else text, longest)
