# SPDX-License-Identifier: MIT
"""Deploy a contract of this project; the same as `mrv contract deploy`, for scripts and for people used to Hardhat.

python scripts/deploy.py --network ethereum --config configs/blockchain_config.sepolia.json
python scripts/deploy.py --network ethereum --contract MRVRegistry
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mrv_cli.main import main as mrv


def main(arguments: Sequence[str]) -> None:
    """Run the command; its exit status is that of `mrv contract deploy`."""
    sys.argv = ["mrv", "contract", "deploy", *arguments]
    mrv()


if __name__ == "__main__":
    main(sys.argv[1:])
