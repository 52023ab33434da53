# SPDX-License-Identifier: MIT
"""How much an anchor pays. Rates are whole satoshis per 1000 virtual bytes."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Final

from mrv_backends_btc.replies import FeeEstimate, MempoolEntry, MempoolInfo
from mrv_backends_btc.rpc import NodeRpc
from mrv_backends_btc.settings import BitcoinSettings
from mrv_core.errors import BackendUnavailableError

WALLET_INCREMENT: Final = 5000
"""What wallets add at least to outbid a transaction of their own (Bitcoin Core, WALLET_INCREMENTAL_RELAY_FEE)."""


def per_kilobyte(rate: float) -> int:
    """Return a rate in satoshis per virtual byte as whole satoshis per 1000, rounded up."""
    return math.ceil(rate * 1000)


def as_option(rate: int) -> Decimal:
    """Return a rate as `fee_rate` of wallet calls takes it: satoshis per virtual byte."""
    return Decimal(rate) / 1000


def fee_of(rate: int, vsize: int) -> int:
    """Return the fee of `vsize` virtual bytes in satoshis, rounded up."""
    return -(-rate * vsize // 1000)


def rate_of(fee: int, vsize: int) -> int:
    """Return the rate of a fee in satoshis for `vsize` virtual bytes, rounded up."""
    return -(-fee * 1000 // vsize)


class Fees:
    """Chooses rates. Thread-safe.

    Args:
        rpc: The node's RPC.
        settings: Floor, cap and what is wanted.
    """

    def __init__(self, rpc: NodeRpc, settings: BitcoinSettings) -> None:
        self._rpc = rpc
        self._settings = settings
        self.cap: Final = per_kilobyte(settings.max_fee_rate)

    def rate(self) -> int:
        """Return the rate that an anchor should pay now: what is wanted, between what the node takes and the cap.

        Raises:
            BackendUnavailableError: the node takes nothing below a rate that is above the cap.
            BackendError: it cannot be asked.
        """
        least = self._least()
        if least > self.cap:
            raise BackendUnavailableError(
                f"{self._rpc.name} takes nothing below {least / 1000:g} sat/vB now, and max_fee_rate is "
                f"{self._settings.max_fee_rate:g}",
                hint="wait until fees fall, or raise max_fee_rate",
                retryable=True,
            )
        return min(max(self._wanted(), least), self.cap)

    def rate_to_outbid(self, entry: MempoolEntry) -> int | None:
        """Return the rate for a replacement, or None where the cap leaves no room for one.

        Args:
            entry: What is replaced; the fee also has to make up for what the transactions that it spends pay too
                little.

        Raises:
            BackendError: the node cannot be asked.
        """
        mempool = self._rpc.ask(MempoolInfo, "getmempoolinfo")
        wanted = max(self._wanted(), self._least(mempool))
        least = rate_of(entry.fees.base, entry.vsize) + max(mempool.incrementalrelayfee, WALLET_INCREMENT)
        missing = fee_of(wanted, entry.ancestorsize) - (entry.fees.ancestor - entry.fees.modified)
        wanted = max(wanted, rate_of(missing, entry.vsize))
        return min(max(wanted, least), self.cap) if least <= self.cap else None

    def _wanted(self) -> int:
        if self._settings.fee_rate != "auto":
            return per_kilobyte(self._settings.fee_rate)
        estimate = self._rpc.ask(FeeEstimate, "estimatesmartfee", self._settings.confirmation_target, "economical")
        return estimate.feerate or 0

    def _least(self, mempool: MempoolInfo | None = None) -> int:
        mempool = mempool or self._rpc.ask(MempoolInfo, "getmempoolinfo")
        return max(per_kilobyte(self._settings.min_fee_rate), mempool.mempoolminfee, mempool.minrelaytxfee)
