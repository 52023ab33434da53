# SPDX-License-Identifier: MIT
"""The node's wallet: which transactions it knows, and whether it can pay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from mrv_backends_btc.replies import (
    Balances,
    Finalized,
    Funded,
    Listed,
    ListedTransaction,
    Outpoint,
    Processed,
    WalletInfo,
    WalletTransaction,
)
from mrv_backends_btc.rpc import NOT_FOUND, WALLET_NOT_LOADED, NodeRpc
from mrv_core.errors import BackendError, BackendUnavailableError
from mrv_core.transport import RpcError

_R = TypeVar("_R", bound=BaseModel)
_ALREADY_LOADED: Final = -35
_INVALID_PARAMETER: Final = -8
_PAGE: Final = 5000
"""Entries asked for at once; each may have 800 bytes and 50 values, and an answer holds a million values at most."""
_MAX_LISTED: Final = 100 * _PAGE


class Wallet:
    """One wallet of the node; it is loaded when it is not. Thread-safe.

    Args:
        rpc: The node's RPC.
        name: The wallet's name.
    """

    def __init__(self, rpc: NodeRpc, name: str) -> None:
        self._rpc = rpc
        self.name: Final = name

    def call(self, method: str, *params: Any) -> Any:
        """Call a method of the wallet.

        Raises:
            RpcError: the node said no.
            BackendError: the node has no such wallet, or cannot be asked.
        """
        try:
            return self._rpc.call(method, *params, wallet=self.name)
        except RpcError as error:
            if error.code != WALLET_NOT_LOADED:
                raise
        self._load()
        return self._rpc.call(method, *params, wallet=self.name)

    def ask(self, reply: type[_R], method: str, *params: Any) -> _R:
        """Call a method whose result is an object, and return what is needed of it, validated; raises as `call`."""
        return self._rpc.read(reply, method, self.call(method, *params))

    def transaction(self, txid: str) -> WalletTransaction | None:
        """Return what the wallet knows of a transaction, or None where it is none of its own.

        Raises:
            BackendError: as of `call`.
        """
        try:
            return self.ask(WalletTransaction, "gettransaction", txid)
        except RpcError as error:
            if error.code != NOT_FOUND:
                raise
            return None

    def sent(self, *, data_only: bool = False) -> Iterable[ListedTransaction]:
        """Return the wallet's transactions that spend something, each once; raises as `call`.

        Args:
            data_only: Only those that pay to no address: those with data are among them.
        """
        entries = (entry for entry in self._listed() if entry.category == "send")
        return {entry.txid: entry for entry in entries if entry.address is None or not data_only}.values()

    def _listed(self) -> Iterator[ListedTransaction]:
        """Yield what the wallet lists, the newest page first; what arrives meanwhile makes pages overlap."""
        for place in range(0, _MAX_LISTED, _PAGE):
            page = self.call("listtransactions", "*", _PAGE, place)
            entries = self._rpc.read(Listed, "listtransactions", {"transactions": page}).transactions
            yield from entries
            if len(entries) < _PAGE:
                return
        raise BackendError(
            f"{self._rpc.name}: wallet {self.name!r} has more than {_MAX_LISTED} transactions to search",
            hint="make the anchors with a wallet of their own",
        )

    def check_scanned(self) -> None:
        """Check that the wallet knows all of its transactions, and is not just looking for them in the chain.

        Raises:
            BackendUnavailableError: it is.
            BackendError: as of `call`.
        """
        if self.ask(WalletInfo, "getwalletinfo").scanning is not False:
            raise BackendUnavailableError(
                f"{self._rpc.name}: wallet {self.name!r} is still looking for its transactions in the chain",
                hint=f"wait until this says false: bitcoin-cli -rpcwallet={self.name} getwalletinfo, 'scanning'",
                retryable=True,
            )

    def check_can_sign(self) -> None:
        """Check that the wallet has keys and is not locked.

        Raises:
            BackendError: it cannot sign now; the hint says what to do.
        """
        info = self.ask(WalletInfo, "getwalletinfo")
        if not info.private_keys_enabled:
            raise BackendError(
                f"{self._rpc.name}: wallet {self.name!r} has no private keys",
                hint="name a wallet that signs by itself; external signers are not supported",
            )
        if info.unlocked_until == 0:
            raise BackendError(
                f"{self._rpc.name}: wallet {self.name!r} is locked",
                hint=f"unlock it with: bitcoin-cli -rpcwallet={self.name} walletpassphrase <passphrase> <seconds>",
            )

    def balances(self) -> Balances:
        """Return what the wallet has; raises as `call`."""
        return self.ask(Balances, "getbalances")

    def fund(self, inputs: list[dict[str, Any]], outputs: list[dict[str, str]], options: dict[str, Any]) -> Funded:
        """Let the wallet choose what pays for some outputs, the first being `inputs`; raises as `call`."""
        return self.ask(Funded, "walletcreatefundedpsbt", inputs, outputs, 0, options)

    def change_address(self) -> str:
        """Return a new address of its own for change; raises as `call`."""
        answer = self.call("getrawchangeaddress")
        if not isinstance(answer, str):
            raise self._rpc.unexpected("getrawchangeaddress")
        return answer

    def sign(self, psbt: str) -> str:
        """Sign a transaction and return it raw, hexadecimal.

        Raises:
            BackendError: the wallet does not have all the keys, or as of `call`.
        """
        processed = self.ask(Processed, "walletprocesspsbt", psbt)
        finalized = self._rpc.ask(Finalized, "finalizepsbt", processed.psbt)
        if not (processed.complete and finalized.complete) or finalized.hex is None:
            raise BackendError(
                f"{self._rpc.name}: wallet {self.name!r} did not sign everything",
                hint="name a wallet that has all its keys; external and further signers are not supported",
            )
        return finalized.hex

    def locked_outputs(self) -> list[Outpoint]:
        """Return the outputs that are kept from being spent; raises as `call`."""
        result = self.call("listlockunspent")
        try:
            return [Outpoint.model_validate(each) for each in result]
        except (ValidationError, TypeError):
            raise self._rpc.unexpected("listlockunspent") from None

    def lock(self, outpoints: list[Outpoint]) -> bool:
        """Keep outputs from being spent, all of them or none; raises as `call`.

        Returns:
            False where one is locked already, or spent.
        """
        try:
            self.call("lockunspent", False, [each.model_dump() for each in outpoints])
        except RpcError as error:
            if error.code != _INVALID_PARAMETER:
                raise
            return False
        return True

    def unlock(self, outpoint: Outpoint) -> None:
        """Let an output be spent again; one that is not locked, or spent, is left as it is; raises as `call`."""
        try:
            self.call("lockunspent", True, [outpoint.model_dump()])
        except RpcError:
            return

    def _load(self) -> None:
        try:
            self._rpc.call("loadwallet", self.name)
        except RpcError as error:
            if error.code == _ALREADY_LOADED:
                return
            if error.code != WALLET_NOT_LOADED:
                raise
            raise BackendError(
                f"{self._rpc.name} has no wallet {self.name!r}",
                hint=f"create it with: bitcoin-cli createwallet {self.name}, or correct 'wallet'",
            ) from None
