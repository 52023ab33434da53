# SPDX-License-Identifier: MIT
"""Reading blocks from an HTTP gateway, which anyone can do who knows a CID."""

from __future__ import annotations

from mrv_backends_ipfs.cid import Cid
from mrv_backends_ipfs.evidence import check_block
from mrv_core.errors import AnchorNotFoundError, VerificationError
from mrv_core.transport import HttpTransport

_ACCEPT = {"Accept": "application/vnd.ipld.raw"}
_GONE = (404, 410)


class Gateway:
    """A gateway that answers `/ipfs/CID` itself (IPFS specification "Trustless Gateway"). Thread-safe.

    Args:
        url: Its address, without `/ipfs`.
        timeout_s: Longest time for one call.

    Attributes:
        name: Its masked name.
    """

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._transport = HttpTransport(url, timeout_s=timeout_s)
        self.name = self._transport.name

    def get(self, cid: Cid) -> bytes:
        """Return a block after recomputing its CID.

        Raises:
            VerificationError: the bytes have another CID, be they a page that says something else.
            AnchorNotFoundError: the gateway says that there is no such block.
            BackendError: any other answer, or none.
        """
        reply = self._transport.request("GET", f"/ipfs/{cid}?format=raw", headers=_ACCEPT)
        if reply.status in _GONE:
            raise AnchorNotFoundError(
                f"{self.name} has no block {cid} (HTTP {reply.status})", hint="ask another gateway, or a daemon"
            )
        if reply.status != 200:
            raise self._transport.refusal(reply)
        try:
            check_block(cid, reply.body)
        except VerificationError as error:
            raise VerificationError(
                f"{self.name}: {error.message}", hint="this gateway does not deliver what is asked for; ask another one"
            ) from error
        return reply.body

    def close(self) -> None:
        """Close idle connections."""
        self._transport.close()
