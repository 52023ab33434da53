# SPDX-License-Identifier: MIT
"""`mrv contract deploy`: put a contract of this project onto a chain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mrv_cli.options import DEFAULT_BASE_DIR, BaseDirOption, ConfigOption, JsonOption, read_config
from mrv_cli.output import console, guarded, note, print_json
from mrv_core.errors import ConfigurationError

DEPLOY_EXAMPLES = """\b
Examples:
  mrv contract deploy --network ethereum --config configs/blockchain_config.sepolia.json
  mrv contract deploy --network ethereum --contract MRVRegistry --json

\b
Exit status: 0 deployed, 2 the configuration does not allow it, 4 it could not be deployed.
"""

DeployNetworkOption = Annotated[
    str, typer.Option("--network", metavar="NAME", help="Network to deploy on.", show_default=False)
]
ContractOption = Annotated[
    str, typer.Option("--contract", metavar="NAME", help="MLProvenance, MRVRegistry or BatchVerifier.")
]
UpdateOption = Annotated[
    bool, typer.Option("--update-config", help="Write address and chain id into the configuration file.")
]


@guarded
def deploy(
    network: DeployNetworkOption,
    contract: ContractOption = "MLProvenance",
    config: ConfigOption = None,
    base_dir: BaseDirOption = DEFAULT_BASE_DIR,
    update_config: UpdateOption = False,
    as_json: JsonOption = False,
) -> None:
    """Deploy a contract, check the code that is there afterwards, and write down address, chain id and code hash."""
    from mrv_core import deployment as deployments
    from mrv_core.manager import BlockchainManager

    settings = read_config(config)
    path = Path(settings.source)
    setting = deployments.SETTING_OF.get(contract)
    if update_config and (setting is None or not path.is_file()):
        raise ConfigurationError(
            f"--update-config needs a configuration file, and a contract of {', '.join(deployments.SETTING_OF)}",
            hint="name the file with --config",
        )
    with BlockchainManager(settings, base_dir=base_dir) as manager:
        made, record = deployments.deploy(manager, network, contract)
    if update_config:
        deployments.update_config(path, network, made)
        note(f"wrote {setting} and chain_id of {network} into {path}")
    if as_json:
        print_json({**made.to_json(), "network": network, "record": str(record)})
        return
    out = console()
    for key in ("contract", "address", "chain_id", "code_hash", "transaction", "block_number"):
        out.print(f"{key:<13} {getattr(made, key)}", soft_wrap=True)
    note(f"wrote {record}")
    if setting is not None and not update_config:
        note(f'next: set "{setting}": "{made.address}" and "chain_id": {made.chain_id} for {network}')
