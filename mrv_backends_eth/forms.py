# SPDX-License-Identifier: MIT
"""The forms in which commitments stand on one chain, and which of them an anchor, a transaction or evidence has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mrv_backends_eth.calldata_evidence import CALLDATA_FORMAT
from mrv_backends_eth.calldata_form import CalldataForm
from mrv_backends_eth.contract_form import ContractForm
from mrv_backends_eth.form import Form
from mrv_backends_eth.provenance_queries import ProvenanceQueries
from mrv_backends_eth.registry_evidence import REGISTRY_FORMAT
from mrv_backends_eth.registry_queries import MRV_ID, RegistryQueries
from mrv_backends_eth.settings import EthereumSettings
from mrv_backends_eth.transactions import Transaction
from mrv_core.hashing import Digest
from mrv_core.models import Metadata


class Forms:
    """All forms of one chain. Has no state but the settings.

    Args:
        settings: Where the contracts are, and the mode.
        network: Configured name, for messages.
    """

    def __init__(self, settings: EthereumSettings, network: str) -> None:
        self.contract = ContractForm(ProvenanceQueries(_bytes(settings.contract_address), network))
        self.registry = ContractForm(RegistryQueries(_bytes(settings.registry_address), network))
        self._calldata = CalldataForm()
        self._main: Form = self.contract if settings.mode == "contract" else self._calldata
        self._registers = settings.registry_address is not None

    @property
    def main(self) -> Form:
        """The form of new anchors, but those of records where a registry is configured."""
        return self._main

    @property
    def registers(self) -> bool:
        """Whether a registry is configured."""
        return self._registers

    @property
    def in_use(self) -> tuple[Form, ...]:
        """The forms that new anchors can have."""
        return (self._main, self.registry) if self._registers else (self._main,)

    def of(self, metadata: Metadata) -> Form:
        """Return the form of a new anchor: what has an MRV id goes to the registry, where there is one."""
        return self.registry if self._registers and MRV_ID in metadata else self._main

    def read(self, transaction: Transaction) -> tuple[Form, Digest] | tuple[None, None]:
        """Return what a transaction anchors in any form, whatever the settings' mode is now."""
        for form in (self.contract, self.registry, self._calldata):
            if (commitment := form.commitment(transaction)) is not None:
                return form, commitment
        return None, None

    def of_evidence(self, evidence: Mapping[str, Any]) -> Form:
        """Return the form whose evidence this is, or says that it is."""
        others: dict[str, Form] = {CALLDATA_FORMAT: self._calldata, REGISTRY_FORMAT: self.registry}
        return others.get(str(evidence.get("format")), self.contract)


def _bytes(address: str | None) -> bytes | None:
    return None if address is None else bytes.fromhex(address[2:])
