# SPDX-License-Identifier: MIT
"""What is used of a node's answers, validated; everything else in them is left aside."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from mrv_backends_btc.evidence import HashText
from mrv_backends_btc.transaction import MAX_TRANSACTION_BYTES

SATOSHIS = 100_000_000
"""Satoshis in a bitcoin."""
_MAX_SATOSHIS = 21_000_000 * SATOSHIS


def to_satoshis(value: Any) -> Any:
    """Turn an amount in bitcoins, or a rate in bitcoins per 1000 bytes, into satoshis."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError("not an amount")
    amount = Decimal(value)
    satoshis = int(amount * SATOSHIS) if abs(amount) <= _MAX_SATOSHIS else None
    if satoshis is None or Decimal(satoshis) != amount * SATOSHIS:
        raise ValueError("not an amount of whole satoshis")
    return satoshis


Satoshis = Annotated[int, BeforeValidator(to_satoshis)]
"""An amount, or a rate per 1000 virtual bytes."""
Height = Annotated[int, Field(ge=0, lt=2**31)]
RawText = Annotated[str, Field(pattern=r"^([0-9a-f]{2})+$", max_length=2 * MAX_TRANSACTION_BYTES)]


class Reply(BaseModel):
    """Base of all answers: no coercion, further keys ignored."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)


class ChainInfo(Reply):
    """`getblockchaininfo`."""

    chain: str
    blocks: Height
    headers: Height
    initialblockdownload: bool


class HeaderInfo(Reply):
    """`getblockheader HASH true`; `confirmations` is -1 where the block is not in the chain."""

    hash: HashText
    confirmations: int
    height: Height
    n_tx: Annotated[int, Field(ge=0, alias="nTx")]


class BlockInfo(Reply):
    """`getblock HASH 1`."""

    tx: Annotated[list[HashText], Field(min_length=1, max_length=100_000)]


class FoundTransaction(Reply):
    """`getrawtransaction TXID true [BLOCK]`."""

    hex: RawText
    blockhash: HashText | None = None


class WalletTransaction(Reply):
    """`gettransaction TXID`; `confirmations` is -n where a conflicting transaction has n."""

    hex: RawText
    confirmations: int
    blockhash: HashText | None = None


class MempoolEntry(Reply):
    """`getmempoolentry TXID`, the sizes in virtual bytes."""

    class Fees(Reply):
        """Satoshis: what it pays, what miners count for it, and what they count for it and all that it needs."""

        base: Satoshis
        modified: Satoshis
        ancestor: Satoshis

    vsize: Annotated[int, Field(ge=1)]
    ancestorsize: Annotated[int, Field(ge=1)]
    descendantcount: Annotated[int, Field(ge=1)]
    fees: Fees


class MempoolInfo(Reply):
    """`getmempoolinfo`: rates in satoshis per 1000 virtual bytes."""

    mempoolminfee: Satoshis
    minrelaytxfee: Satoshis
    incrementalrelayfee: Satoshis = 0


class FeeEstimate(Reply):
    """`estimatesmartfee`: satoshis per 1000 virtual bytes, None where the node knows too little."""

    feerate: Satoshis | None = None


class Balances(Reply):
    """`getbalances`."""

    class Mine(Reply):
        """What a wallet can spend now, and what it may be able to spend later, in satoshis."""

        trusted: Satoshis
        untrusted_pending: Satoshis
        immature: Satoshis

    mine: Mine


class WalletInfo(Reply):
    """`getwalletinfo`.

    `unlocked_until` is 0 where the wallet is locked and missing where it has no passphrase. `scanning` is False, or
    an object while the wallet looks for its transactions in the chain.
    """

    private_keys_enabled: bool
    unlocked_until: int | None = None
    scanning: Any = False


class Funded(Reply):
    """`walletcreatefundedpsbt`."""

    psbt: str
    fee: Satoshis


class Processed(Reply):
    """`walletprocesspsbt`."""

    psbt: str
    complete: bool


class Finalized(Reply):
    """`finalizepsbt`."""

    complete: bool
    hex: RawText | None = None


class Acceptance(Reply):
    """One answer of `testmempoolaccept`."""

    allowed: bool
    reject_reason: Annotated[str | None, Field(alias="reject-reason")] = None


class ListedTransaction(Reply):
    """One entry of `listtransactions`."""

    category: str
    txid: HashText
    address: str | None = None
    confirmations: int
    blockheight: Height | None = None
    blockindex: int = 0
    time: Annotated[int, Field(ge=0, lt=2**32)] = 0
    abandoned: bool = False


class Listed(Reply):
    """`listtransactions`, which is a list."""

    transactions: list[ListedTransaction]


class Spender(Reply):
    """One answer of `gettxspendingprevout`."""

    spendingtxid: HashText | None = None


class Outpoint(Reply):
    """One locked output."""

    txid: HashText
    vout: Annotated[int, Field(ge=0)]
