# SPDX-License-Identifier: MIT
"""What a transaction offers for a unit of gas, and when it is too much. All amounts in wei."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mrv_core.errors import BackendUnavailableError

GWEI: Final = 10**9
_HEADROOM: Final = 2
"""The base fee grows by at most an eighth a block, so twice of it lasts for at least six full blocks."""
_LARGEST_TIP: Final = 50 * GWEI
"""Largest tip on a chain whose base fee is lower, whatever the node suggests."""
_BUMP: Final = (9, 8)
"""What a replacement pays at least, against what it replaces: nodes ask for a tenth more, some for an eighth."""


@dataclass(frozen=True, slots=True)
class Fees:
    """What one transaction offers for a unit of gas.

    Attributes:
        most: The most it pays; before London, the price.
        tip: What of it goes to whoever makes the block; None before London.
    """

    most: int
    tip: int | None

    def fields(self) -> dict[str, int]:
        """Return the fields of a transaction."""
        if self.tip is None:
            return {"gasPrice": self.most}
        return {"maxFeePerGas": self.most, "maxPriorityFeePerGas": self.tip}


def market_fees(base_fee: int | None, suggested: int, cap: int) -> Fees:
    """Return what to offer now.

    Args:
        base_fee: Base fee of the newest block; None on a chain without one.
        suggested: What the node suggests: a tip, or on a chain without base fee the price.
        cap: Most to offer.

    Raises:
        BackendUnavailableError: it would be more than the cap; retryable, since prices fall again.
    """
    for asked in (base_fee or 0, suggested):
        if asked > cap:
            raise BackendUnavailableError(
                f"the node asks {gwei(asked)} gwei for a unit of gas, the settings allow {gwei(cap)}",
                hint="wait until it is cheaper, or raise gas_price or max_fee_gwei of this network",
                retryable=True,
            )
    if base_fee is None:
        return Fees(suggested, None)
    tip = min(suggested, max(base_fee, _LARGEST_TIP))
    most = min(_HEADROOM * base_fee + tip, cap)
    return Fees(most, min(tip, most))


def replacement_fees(old: Fees, now: Fees, base_fee: int | None, cap: int) -> Fees | None:
    """Return what a replacement offers, or None where the old one offers enough or the cap is reached.

    Args:
        old: What the waiting transaction offers.
        now: `market_fees` of now.
        base_fee: Base fee of the newest block; None on a chain without one.
        cap: Most to offer.
    """
    if _is_enough(old, now, base_fee):
        return None
    most = max(now.most, _more(old.most))
    tip = None if old.tip is None or now.tip is None else max(now.tip, _more(old.tip))
    most = max(most, tip or 0)
    return Fees(most, tip) if most <= cap else None


def gwei(wei: int) -> str:
    """Write an amount in gwei."""
    return f"{wei / GWEI:.9f}".rstrip("0").rstrip(".")


def coins(wei: int) -> str:
    """Write an amount in the chain's currency, which is 10^18 wei."""
    whole, rest = divmod(wei, 10**18)
    return f"{whole}.{rest:018d}".rstrip("0").rstrip(".")


def _is_enough(old: Fees, now: Fees, base_fee: int | None) -> bool:
    """Tell whether a transaction offers what the next blocks ask, so that waiting is better."""
    if old.tip is None or now.tip is None:
        return old.most >= now.most
    return old.tip >= now.tip and old.most >= (base_fee or 0) * _BUMP[0] // _BUMP[1] + now.tip


def _more(wei: int) -> int:
    return max(1, -(-wei * _BUMP[0] // _BUMP[1]))  # a tip of zero does not outbid its like
