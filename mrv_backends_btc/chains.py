# SPDX-License-Identifier: MIT
"""The chains that Bitcoin software knows, and what tells them apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Chain:
    """One chain.

    Attributes:
        name: As nodes call it.
        genesis: Hash of its first block, 64 hexadecimal digits as explorers show it.
        rpc_port: Port on which a node answers if it is not told another.
        easiest_bits: Compact form of the largest target that a block may have.
        min_work: Least work that a header of an anchor must have cost by default, as a power of two of hashes.
        max_work: More than a header of the chain has ever cost, as a power of two: one that cost as much is of another.
        finality: Confirmations that make an anchor FINAL by default.
    """

    name: str
    genesis: str
    rpc_port: int
    easiest_bits: int
    min_work: int
    max_work: int
    finality: int

    @property
    def network_id(self) -> str:
        """CAIP-2 name: `bip122:` and the first 32 digits of the genesis block's hash."""
        return f"bip122:{self.genesis[:32]}"


# Genesis hashes and limits as `getblockhash 0` and `getblockchaininfo` of a node give them. The floors of work: a block
# of the main chain has cost more than 2^70 hashes since 2017 and costs about 2^79 now. The test chains have blocks of
# the least difficulty by their rules, so their floors only repeat those; on regtest it never changes.
_ALL: Final = (
    Chain(
        name="main",
        genesis="000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
        rpc_port=8332,
        easiest_bits=0x1D00FFFF,
        min_work=70,
        max_work=256,
        finality=6,
    ),
    Chain(
        name="test",
        genesis="000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943",
        rpc_port=18332,
        easiest_bits=0x1D00FFFF,
        min_work=32,
        max_work=70,
        finality=6,
    ),
    Chain(
        name="testnet4",
        genesis="00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043",
        rpc_port=48332,
        easiest_bits=0x1D00FFFF,
        min_work=32,
        max_work=70,
        finality=6,
    ),
    Chain(
        name="signet",
        genesis="00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6",
        rpc_port=38332,
        easiest_bits=0x1E0377AE,
        min_work=22,
        max_work=40,
        finality=6,
    ),
    Chain(
        name="regtest",
        genesis="0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
        rpc_port=18443,
        easiest_bits=0x207FFFFF,
        min_work=0,
        max_work=2,
        finality=1,
    ),
)

CHAINS: Final[Mapping[str, Chain]] = MappingProxyType({chain.name: chain for chain in _ALL})
"""Every chain by name."""
CHAINS_BY_ID: Final[Mapping[str, Chain]] = MappingProxyType({chain.network_id: chain for chain in _ALL})
"""Every chain by network id."""
