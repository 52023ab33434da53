# SPDX-License-Identifier: MIT
"""The Ethereum driver passes the suite that every driver passes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from mrv_backends_eth.driver import EthereumDriver
from mrv_backends_eth.keccak import keccak256
from mrv_backends_eth.settings import EthereumSettings
from mrv_core.driver import DriverContext
from mrv_core.testing.conformance import DriverConformance, commitment_of

HASH_STORED = keccak256(b"HashStored(bytes32,string,uint256)")


class TestEthereumDriver(DriverConformance):
    driver_class = EthereumDriver

    @pytest.fixture
    def context(self, tmp_path: Path) -> DriverContext:
        settings = EthereumSettings(private_key=SecretStr("5e47" * 16))
        return DriverContext("ethereum", settings, tmp_path / "store")

    @pytest.fixture
    def driver(self, context: DriverContext, chain_file: Path, evm_view: Callable[[], Any]) -> EthereumDriver:
        """A driver on a chain with some history, of which a copy is kept."""
        driver = EthereumDriver(context)
        self.anchor(driver, commitment_of("history"))
        self.chain_file, self.evm_view = chain_file, evm_view
        self.older_copy = shutil.copy(chain_file, chain_file.with_name("older"))
        return driver

    def count(self, driver, commitment):
        return self.evm_view().logs(HASH_STORED, commitment.value)

    def reorg(self, driver):
        """Put the older copy back: the only way in which this chain can lose blocks."""
        shutil.copy(self.older_copy, self.chain_file)
        return True
