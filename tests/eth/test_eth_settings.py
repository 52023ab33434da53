# SPDX-License-Identifier: MIT
"""Settings are refused by the name of the key, and no message repeats a value that may be secret."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from mrv_backends_eth.chains import CHAIN_IDS
from mrv_backends_eth.settings import EthereumSettings
from mrv_core.config import load_config
from mrv_core.errors import ConfigurationError

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
KEY = "0x" + "ab" * 32


def read(environment: dict[str, str] | None = None, **section: Any) -> EthereumSettings:
    document = {"blockchain": {"networks": ["ethereum"], "ethereum": section}}
    settings = load_config(document, environment=environment or {}).networks["ethereum"].settings
    assert isinstance(settings, EthereumSettings)
    return settings


def test_the_defaults_are_the_embedded_chain() -> None:
    settings = read()
    assert (settings.rpc_url, settings.gas_limit, settings.gas_price) == ("embedded", 300_000, "auto")
    assert (settings.private_key, settings.contract_address, settings.chain_id) == (None, None, None)


def test_the_seeds_section_is_read() -> None:
    settings = read(
        enabled=True,
        rpc_url="http://127.0.0.1:8545",
        private_key=KEY,
        contract_address=None,
        gas_limit=300000,
        gas_price=20,
    )
    assert settings.gas_price == 20
    assert settings.private_key is not None
    assert settings.private_key.get_secret_value() == KEY


def test_the_seeds_variables_override_the_section() -> None:
    variables = {"BLOCKCHAIN_RPC_URL": "http://one", "CONTRACT_ADDRESS": "0x" + "11" * 20, "PRIVATE_KEY": "01" * 32}
    first = read(variables, rpc_url="embedded")
    assert (first.rpc_url, first.contract_address) == ("http://one", "0x" + "11" * 20)
    second = read({**variables, "ETH_RPC_URL": "https://two", "ETH_PRIVATE_KEY": KEY})
    assert second.rpc_url == "https://two"
    assert second.private_key is not None
    assert second.private_key.get_secret_value() == KEY


@pytest.mark.parametrize("placeholder", ["your_private_key_here", "YOUR_PRIVATE_KEY", "<your key>", "changeme"])
def test_placeholder_keys_are_refused_by_name(placeholder: str) -> None:
    with pytest.raises(ConfigurationError, match=r"ethereum\.private_key still holds a placeholder"):
        read(private_key=placeholder)
    with pytest.raises(ConfigurationError, match=r"ethereum\.private_key"):
        read({"ETH_PRIVATE_KEY": placeholder})


@pytest.mark.parametrize(
    "secret",
    [
        "ab" * 31,
        "0x" + "ab" * 33,
        "zz" * 32,
        f"{ORDER:064x}",
        f"{2**256 - 1:064x}",
        "00" * 32,
        "sentinel-4711",
        "ab" * 31 + "a_",
        KEY + " ",
    ],
)
def test_malformed_keys_are_refused_without_repeating_them(secret: str) -> None:
    with pytest.raises(ConfigurationError, match=r"ethereum\.private_key: not a private key") as failure:
        read(private_key=secret)
    shown = f"{failure.value!r} {failure.value.hint} {failure.value.__cause__!r} {failure.value.__context__!r}"
    assert secret not in shown


@pytest.mark.parametrize("key", ["", "0x", "0x" + "00" * 32])
def test_absent_keys_are_refused_by_name(key: str) -> None:
    with pytest.raises(ConfigurationError, match=r"ethereum\.private_key"):
        read(private_key=key)


@pytest.mark.parametrize("key", ["01".rjust(64, "0"), "0x" + f"{ORDER - 1:064x}", f"{ORDER - 1:064X}"])
def test_keys_are_accepted_over_the_whole_range_and_never_shown(key: str) -> None:
    settings = read(private_key=key)
    assert key not in repr(settings)
    assert key not in str(settings.to_json())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rpc_url", "ws://127.0.0.1:8546"),
        ("rpc_url", "http://"),
        ("rpc_url", "http://[::1"),
        ("rpc_url", "Embedded"),
        ("contract_address", "0x1234"),
        ("contract_address", "0x" + "00" * 20),
        ("contract_address", ""),
        ("gas_limit", 20_999),
        ("gas_limit", 300000.5),
        ("gas_limit", "300000"),
        ("gas_limit", True),
        ("gas_price", 0),
        ("gas_price", -1),
        ("gas_price", "fast"),
        ("chain_id", 0),
        ("path", ""),
        ("rpc_url", "http://127.0.0.1:99999"),
        ("rpc_url", "http://127.0.0.1:0"),
        ("mode", "event"),
        ("finality", 0),
        ("finality", "latest"),
        ("finality", True),
        ("max_fee_gwei", 0),
        ("replace_after_blocks", 0),
        ("submitter", "0x1234"),
        ("submitter", []),
        ("submitter", "0xF39fd6e51aad88F6F4ce6aB8827279cffFb92266"),
        ("private_key_file", ""),
        ("network", "ropsten"),
    ],
)
def test_wrong_values_are_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=rf"ethereum\.{key}"):
        read(**{key: value})


def test_the_settings_of_a_node() -> None:
    address = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    settings = read(network="sepolia", finality="finalized", submitter=[address, address.lower()], gas_price=2.5)
    assert (settings.chain_id, settings.finality, settings.gas_price) == (11155111, "finalized", 2.5)
    assert settings.submitter == [address, address.lower()]
    defaults = read(rpc_url="http://127.0.0.1:8545")
    assert (defaults.mode, defaults.finality, defaults.submitter) == ("contract", None, None)
    assert (defaults.max_fee_gwei, defaults.replace_after_blocks) == (500, 3)


@pytest.mark.parametrize(("name", "chain_id"), [*CHAIN_IDS.items(), ("localhost", None)])
def test_every_name_of_a_chain_is_taken_and_stands_for_its_id(name: str, chain_id: int | None) -> None:
    assert read(network=name).chain_id == chain_id
    if chain_id is not None:
        with pytest.raises(ConfigurationError, match=f"network {name} has the chain_id {chain_id}, not the one given"):
            read(network=name, chain_id=chain_id + 1)


def test_plugin_and_settings_load_nothing_heavy() -> None:
    code = (
        "import sys, mrv_backends_eth.plugin, mrv_backends_eth.settings;"
        "print(sorted({'web3', 'eth', 'eth_tester', 'eth_account', 'Crypto', 'sqlite3'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
