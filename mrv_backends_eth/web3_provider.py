# SPDX-License-Identifier: MIT
"""web3 on top of our transport. Importing this module imports web3, so only `mrv_backends_eth.writing` does."""

from __future__ import annotations

from typing import Any

from web3.providers.base import BaseProvider

from mrv_core.transport import JsonRpcClient, RpcError


class TransportProvider(BaseProvider):  # type: ignore[misc]
    """Whatever web3 asks goes through the deadline, the caps and the masking of the transport, once.

    web3's own HTTP provider sends a transaction up to five times, follows redirects, and puts URLs with keys into its
    exceptions; and whatever a contract names in an `OffchainLookup` (EIP-3668), web3 would fetch from this machine.

    Args:
        client: How the node is reached.
    """

    global_ccip_read_enabled = False

    def __init__(self, client: JsonRpcClient) -> None:
        super().__init__()
        self._client = client

    def make_request(self, method: Any, params: Any) -> Any:
        """Make one call; errors of the transport go through web3 as they are."""
        try:
            result = self._client.call(str(method), *params)
        except RpcError as error:
            problem = {"code": error.code or 0, "message": error.reason, "data": error.data}
            return {"jsonrpc": "2.0", "id": 0, "error": problem}
        return {"jsonrpc": "2.0", "id": 0, "result": result}

    def is_connected(self, show_traceback: bool = False) -> bool:
        """Nobody asks; `status` of the driver says whether the node can be used."""
        return True
