# SPDX-License-Identifier: MIT
"""A development network on this machine: a real Ethereum, Bitcoin and IPFS node, started and stopped by us.

The nodes are for trying and testing. Nothing here is used to anchor or to verify.
"""
