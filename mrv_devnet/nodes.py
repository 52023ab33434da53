# SPDX-License-Identifier: MIT
"""The three nodes under one name."""

from __future__ import annotations

from mrv_devnet.anvil import AnvilNode
from mrv_devnet.bitcoin import BitcoinNode
from mrv_devnet.ipfs import IpfsNode
from mrv_devnet.node import Node
from mrv_devnet.rpc import RpcError

__all__ = ["AnvilNode", "BitcoinNode", "IpfsNode", "Node", "RpcError"]
