# SPDX-License-Identifier: MIT
"""The configuration of a Bitcoin network: what is accepted, and what is refused without repeating a secret."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from mrv_backends_btc import plugin
from mrv_backends_btc.chains import CHAINS, CHAINS_BY_ID
from mrv_backends_btc.settings import BitcoinSettings
from mrv_core.config import load_config
from mrv_core.errors import ConfigurationError
from mrv_core.registry import Registry

SECRET = "s3cr3t-passphrase"


@pytest.fixture(scope="module")
def registry() -> Registry:
    registry = Registry()
    registry.add_plugin(plugin, "bitcoin")
    return registry


def load(registry: Registry, section: dict[str, Any], **environment: str) -> BitcoinSettings:
    config = load_config({"blockchain": {"bitcoin": section}}, registry=registry, environment=environment)
    settings = config.networks["bitcoin"].settings
    assert isinstance(settings, BitcoinSettings)
    return settings


class TestAccepted:
    @pytest.mark.parametrize(
        ("network", "port", "finality"),
        [("main", 8332, 6), ("test", 18332, 6), ("testnet4", 48332, 6), ("signet", 38332, 6), ("regtest", 18443, 1)],
    )
    def test_every_chain_with_its_usual_port(self, registry: Registry, network: str, port: int, finality: int) -> None:
        settings = load(registry, {"network": network})
        assert settings.address == f"http://127.0.0.1:{port}"
        assert settings.final_after == finality
        assert load(registry, {"network": network, "finality": 3}).final_after == 3

    def test_the_environment_wins(self, registry: Registry) -> None:
        section = {"network": "regtest", "rpc_url": "http://127.0.0.1:1", "rpc_user": "a"}
        variables = {"BTC_RPC_URL": "http://127.0.0.1:2", "BTC_RPC_USER": "b", "BTC_RPC_PASSWORD": SECRET}
        settings = load(registry, section, **variables)
        assert (settings.address, settings.rpc_user) == ("http://127.0.0.1:2", "b")
        assert settings.rpc_password is not None
        assert settings.rpc_password.get_secret_value() == SECRET

    @pytest.mark.parametrize("rate", ["auto", 5, 2.5])
    def test_rates(self, registry: Registry, rate: object) -> None:
        assert load(registry, {"network": "regtest", "fee_rate": rate}).fee_rate == rate

    def test_secrets_are_not_in_the_representation(self, registry: Registry) -> None:
        in_url = load(registry, {"network": "regtest", "rpc_url": f"http://u:{SECRET}@127.0.0.1:1"})
        apart = load(registry, {"network": "regtest", "rpc_user": "u", "rpc_password": SECRET})
        for settings in (in_url, apart):
            assert SECRET not in repr(settings)
            assert SECRET not in str(settings)


class TestRefused:
    @pytest.mark.parametrize(
        ("section", "message"),
        [
            ({}, "'network' must say which chain is meant: main, test, testnet4, signet, regtest"),
            ({"network": "mainnet"}, "network"),
            ({"network": "main", "rpc_url": "127.0.0.1:8332"}, "must be an http"),
            ({"network": "main", "rpc_url": "ftp://127.0.0.1"}, "must be an http"),
            ({"network": "main", "rpc_url": f"http://u:{SECRET}@[::1"}, "not a URL"),
            ({"network": "main", "rpc_url": f"http://u:{SECRET}@h:99999"}, "not a URL"),
            ({"network": "main", "rpc_url": "http://127.0.0.1:8332/wallet/mine"}, "that is what 'wallet' is for"),
            ({"network": "main", "rpc_user": "your_username"}, "placeholder"),
            ({"network": "main", "rpc_user": "u", "rpc_password": "your_password"}, "placeholder"),
            ({"network": "main", "rpc_user": "u", "rpc_password": "${BTC_PASSWORD}"}, "placeholder"),
            ({"network": "main", "rpc_user": "u", "rpc_password": ""}, "empty"),
            ({"network": "main", "rpc_user": "u"}, "belong together"),
            ({"network": "main", "rpc_password": SECRET}, "belong together"),
            ({"network": "main", "rpc_user": "u", "cookie_file": ".cookie"}, "belong together"),
            (
                {"network": "main", "rpc_user": "u", "rpc_password": SECRET, "cookie_file": "c"},
                "more than one password",
            ),
            (
                {"network": "main", "rpc_url": f"http://u:{SECRET}@h", "rpc_user": "u", "rpc_password": SECRET},
                "more than one password",
            ),
            ({"network": "main", "finality": 0}, "finality"),
            ({"network": "main", "fee_rate": 0}, "fee_rate"),
            ({"network": "main", "fee_rate": "fast"}, "fee_rate"),
            ({"network": "main", "fee_rate": 300}, "must not decrease"),
            ({"network": "main", "min_fee_rate": 5, "fee_rate": 2}, "must not decrease"),
            ({"network": "main", "min_fee_rate": 300}, "must not decrease"),
            ({"network": "main", "max_fee_rate": 20_000}, "max_fee_rate"),
            ({"network": "main", "confirmation_target": 2000}, "confirmation_target"),
            ({"network": "main", "min_work": 256}, "min_work"),
            ({"network": "main", "wallet": ""}, "wallet"),
            ({"network": "main", "walet": "w"}, "did you mean 'wallet'"),
            ({"network": "main", "privatekey": SECRET}, "unknown key"),
        ],
    )
    def test_with_a_reason_and_without_the_value(
        self, registry: Registry, section: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ConfigurationError) as failure:
            load(registry, section)
        assert message in f"{failure.value.message} {failure.value.hint}"
        assert SECRET not in f"{failure.value!r} {failure.value.hint}"


class TestChains:
    def test_network_ids_are_those_of_caip_2(self) -> None:
        assert CHAINS["main"].network_id == "bip122:000000000019d6689c085ae165831e93"
        assert len(CHAINS_BY_ID) == len(CHAINS) == 5


def test_announcing_the_driver_loads_nothing() -> None:
    """Neither the client library nor anything else of the extra, also while receipts are examined."""
    program = (
        "import sys; import mrv_backends_btc.plugin, mrv_backends_btc.settings, mrv_backends_btc.offline; "
        "import mrv_backends_btc; loaded = {m.partition('.')[0] for m in sys.modules}; "
        "print(sorted(loaded & {'bitcoinrpc', 'bitcoin', 'opentimestamps', 'web3'}))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_architectures_name() -> None:
    import mrv_backends_btc

    assert mrv_backends_btc.BitcoinInterface is mrv_backends_btc.BitcoinDriver
    with pytest.raises(AttributeError):
        mrv_backends_btc.Nothing  # noqa: B018


def test_without_the_library_the_extra_is_named(registry: Registry) -> None:
    program = (
        "import sys; sys.modules['bitcoinrpc'] = None\n"
        "from mrv_backends_btc import plugin\n"
        "from mrv_core.registry import Registry\n"
        "registry = Registry(); registry.add_plugin(plugin, 'bitcoin')\n"
        "try: registry.create('bitcoin', None)\n"
        "except Exception as error: print(type(error).__name__, error.hint)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "ConfigurationError pip install 'mrv-provenance[btc]'"
