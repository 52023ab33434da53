# SPDX-License-Identifier: MIT
"""On a real node, with the contract and without, the Ethereum driver passes the suite that every driver passes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mrv_backends_eth.driver import EthereumDriver
from mrv_core.driver import DriverContext
from mrv_core.hashing import Digest
from mrv_core.models import Metadata
from mrv_core.testing.conformance import DriverConformance


class OnANode(DriverConformance):
    driver_class = EthereumDriver
    mode = "contract"

    @pytest.fixture
    def context(self, new_chain: Any, tmp_path: Path) -> DriverContext:
        self.new_chain = new_chain
        self.chain = new_chain()
        return DriverContext("ethereum", self.chain.settings(mode=self.mode), tmp_path / "store")

    def settle(self, driver):
        (self.other if driver is getattr(self, "other_driver", None) else self.chain).mine()

    def elsewhere(self, driver, context):
        """Another node with another key, whose contract has the same address."""
        self.other = self.new_chain()
        settings = self.other.settings(mode=self.mode)
        assert settings.contract_address == context.settings.contract_address
        self.other_driver = EthereumDriver(replace(context, settings=settings))  # the suite closes it
        return self.other_driver

    def reorg(self, driver):
        self.chain.reorg(1)
        return True

    def ask_for_more(self, driver):
        self.chain.raise_base_fee(50)
        return True

    def overtake(self, driver, prepared):
        self.chain.send_as(self.chain.key)
        self.chain.mine(9)
        return True

    def anchor_by_another(self, driver, commitment):
        self.chain.anchor_by_another(commitment)
        return True

    def remove_store(self, driver, context):
        self.chain.node.kill()
        return True


class TestInTheContract(OnANode):
    def count(self, driver, commitment):
        return self.chain.events(commitment)


class TestInCalldata(OnANode):
    mode = "calldata"

    def count(self, driver, commitment):
        return self.chain.transactions(b"MRV1".hex() + commitment.value.hex())


class IdEach(EthereumDriver):
    """Gives each commitment an MRV id, as records have one, so that all of them go to the registry."""

    def prepare_many(self, anchors):
        return super().prepare_many([(commitment, _with_id(commitment, more)) for commitment, more in anchors])

    def are_new(self, anchors):
        return super().are_new([(commitment, _with_id(commitment, more)) for commitment, more in anchors])

    def find(self, commitment, metadata):
        return super().find(commitment, _with_id(commitment, metadata))


def _with_id(commitment: Digest, metadata: Metadata) -> Metadata:
    return {**metadata, "mrv_id": f"MRV-{commitment.value.hex()[:32]}"}


class TestInTheRegistry(OnANode):
    """Without MLProvenance, so that nothing can have gone there."""

    driver_class = IdEach

    @pytest.fixture
    def context(self, new_chain: Any, tmp_path: Path) -> DriverContext:
        self.new_chain = new_chain
        self.chain = new_chain()
        return DriverContext("ethereum", self.settings(self.chain), tmp_path / "store")

    def settings(self, chain):
        return chain.settings(contract_address=None, registry_address=chain.registry, mode="calldata")

    def elsewhere(self, driver, context):
        self.other = self.new_chain()
        self.other_driver = IdEach(replace(context, settings=self.settings(self.other)))
        return self.other_driver

    def count(self, driver, commitment):
        return self.chain.registrations(commitment)

    def anchor_by_another(self, driver, commitment):
        self.chain.register_by_another(str(_with_id(commitment, {})["mrv_id"]), commitment.value)
        return True


class TestInTheContractUntilFinalized(OnANode):
    """The chain itself says what is final: here, what is four blocks old."""

    @pytest.fixture
    def context(self, new_chain: Any, tmp_path: Path) -> DriverContext:
        self.new_chain = lambda: new_chain("--slots-in-an-epoch", "2")
        self.chain = self.new_chain()
        return DriverContext("ethereum", self.chain.settings(finality="finalized"), tmp_path / "store")

    def count(self, driver, commitment):
        return self.chain.events(commitment)
