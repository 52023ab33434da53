# SPDX-License-Identifier: MIT
"""Deploying a contract of this project, and keeping where it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mrv_core.canonical import parse_json
from mrv_core.driver import DeployingDriver, Deployment
from mrv_core.errors import ConfigurationError, FormatError
from mrv_core.files import make_folder, read_limited, write_atomic
from mrv_core.manager import BlockchainManager

DEPLOYMENTS_FOLDER: Final = "deployments"
MAIN_CONTRACT: Final = "MLProvenance"
"""The contract in which commitments are anchored."""
REGISTRY_CONTRACT: Final = "MRVRegistry"
"""The contract in which MRV records are registered by their id."""
SETTING_OF: Final[Mapping[str, str]] = {MAIN_CONTRACT: "contract_address", REGISTRY_CONTRACT: "registry_address"}
"""Key of a network's section that names a contract's address, where there is one."""
_MAX_CONFIG_BYTES: Final = 1024 * 1024


def deploy(manager: BlockchainManager, network: str, contract: str) -> tuple[Deployment, Path]:
    """Deploy a contract on a configured network, and write down where it is.

    Returns:
        The deployment, and its record `<base_dir>/deployments/<network>-<contract>.json`.

    Raises:
        ConfigurationError: the network takes no contracts, or its settings do not allow it.
        BackendError: it could not be deployed.
        StorageError: the record cannot be written.
    """
    driver = manager.driver(network)
    if not isinstance(driver, DeployingDriver):
        raise ConfigurationError(
            f"{network}: the driver {driver.name!r} has no contract to deploy",
            hint="name a network whose driver is 'ethereum' and whose rpc_url is a node",
        )
    folder = make_folder(manager.base_dir / DEPLOYMENTS_FOLDER)
    deployment = driver.deploy_contract(contract)
    path = folder / f"{network}-{contract}.json"
    write_atomic(path, deployment.to_bytes())
    return deployment, path


def update_config(path: Path, network: str, deployment: Deployment) -> None:
    """Put address and chain id of a contract of `SETTING_OF` into a network's section of a configuration file.

    Raises:
        ConfigurationError: the file cannot be read, or has no such section.
        StorageError: it cannot be written.
    """
    try:
        document = parse_json(read_limited(path, _MAX_CONFIG_BYTES), what=str(path))
    except FormatError as error:
        raise ConfigurationError(error.message, hint=error.hint) from error
    section = _section(document, network)
    if section is None:
        raise ConfigurationError(f"{path} has no section for the network {network!r}", hint="add it by hand")
    section.update({SETTING_OF[deployment.contract]: deployment.address, "chain_id": deployment.chain_id})
    write_atomic(path, (json.dumps(document, indent=2) + "\n").encode())


def _section(document: Any, network: str) -> dict[str, Any] | None:
    """Return a network's section, which stands in `blockchain` or at the top."""
    if not isinstance(document, dict):
        return None
    for parent in (document.get("blockchain"), document):
        if isinstance(parent, dict) and isinstance(parent.get(network), dict):
            found: dict[str, Any] = parent[network]
            return found
    return None
