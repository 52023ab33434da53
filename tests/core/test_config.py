# SPDX-License-Identifier: MIT
"""A configuration means exactly what it says, or is refused by the name of the key and never by its value."""

from __future__ import annotations

import json
import logging
import traceback
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr

from mrv_core import config as config_module
from mrv_core.config import DEFAULT_DOCUMENT, Config, StorageOptions, config_schema, find_config, load_config
from mrv_core.driver import NetworkSettings
from mrv_core.errors import ConfigurationError
from mrv_core.hookspecs import DriverFactory, hookimpl
from mrv_core.models import ReceiptState
from mrv_core.registry import Registry

ROOT = Path(__file__).parents[2]
SENTINEL = "5e47104d00" * 4
KEY = "0x" + "4c" * 32


class NodeSettings(NetworkSettings):
    """A network with an address, secrets and numbers, as real drivers have."""

    environment: ClassVar[dict[str, str]] = {"NODE_URL": "url", "MY_NODE_URL": "url", "NODE_KEY": "key"}

    url: str = "embedded"
    key: SecretStr | None = Field(default=None, min_length=8, max_length=64)
    path: str | None = None
    port: int = Field(default=1, ge=1, le=65535)
    headers: dict[str, str] = Field(default={})


class NodePlugin:
    @hookimpl
    def mrv_register_drivers(self, register):
        register("node", DriverFactory("nowhere:Driver", f"{__name__}:NodeSettings", "", "for a test"))


@pytest.fixture(scope="module")
def installed() -> Registry:
    return Registry.load()


@pytest.fixture(scope="module")
def registry() -> Registry:
    """Return the installed drivers and `node`, whose settings are above."""
    found = Registry.load()
    found.add_plugin(NodePlugin(), "node")
    return found


@pytest.fixture
def load(registry: Registry):
    def load(source: Any = None, **environment: str) -> Config:
        return load_config(source, registry=registry, environment=environment)

    return load


@pytest.fixture
def refuse(load):
    """Return a function that loads what must be refused, and gives message and hint in one text."""

    def refuse(source: Any, **environment: str) -> str:
        with pytest.raises(ConfigurationError) as failure:
            load(source, **environment)
        assert failure.value.message.isprintable()
        return f"{failure.value.message} | {failure.value.hint}"

    return refuse


# What a document means.


def test_the_shipped_file_and_the_built_in_document_are_the_same_configuration(installed):
    built_in = load_config(None, registry=installed, environment={})
    shipped = load_config(ROOT / "configs/blockchain_config.json", registry=installed, environment={})
    assert shipped.source != built_in.source
    for field in Config.__dataclass_fields__:
        if field != "source":
            assert getattr(shipped, field) == getattr(built_in, field), field
    assert built_in.selected == ("ethereum", "ipfs", "log")
    assert built_in.hash_algorithm == "blake3"
    assert built_in.storage_options == StorageOptions()
    assert (built_in.policy.require, built_in.policy.state) == ("all", ReceiptState.FINAL)
    assert (built_in.enabled, built_in.debug, dict(built_in.training)) == (True, False, {})


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.json")), ids=lambda path: path.name)
def test_every_shipped_file_loads_and_fits_the_schema(path, installed):
    load_config(path, registry=installed, environment={})
    jsonschema.validate(json.loads(path.read_text()), config_schema(installed))


def test_the_training_configuration_of_the_developer_guide(load):
    config = load(
        {
            "epochs": 5,
            "batch_size": 64,
            "learning_rate": 0.001,
            "hash_algorithm": "sha256",
            "blockchain": {
                "networks": ["ipfs", "ethereum"],
                "ipfs": {"url": "embedded"},
                "ethereum": {"rpc_url": "http://127.0.0.1:8545", "private_key": KEY},
            },
        }
    )
    assert config.selected == ("ipfs", "ethereum")
    assert config.hash_algorithm == "sha256"
    assert dict(config.training) == {"epochs": 5, "batch_size": 64, "learning_rate": 0.001}
    assert config.networks["ethereum"].settings.private_key.get_secret_value() == KEY


def test_a_section_may_stand_at_the_top(load):
    alone = load({"epochs": 1, "ethereum": {"gas_limit": 500_000}})
    assert alone.selected == ("ethereum",)
    assert alone.networks["ethereum"].settings.gas_limit == 500_000
    assert dict(alone.training) == {"epochs": 1}
    beside = load({"ethereum": {"gas_limit": 500_000}, "blockchain": {"networks": ["ipfs"]}})
    assert beside.selected == ("ipfs",)
    assert beside.networks["ethereum"].settings.gas_limit == 500_000


def test_a_section_in_two_places_is_refused(refuse):
    told = refuse({"ethereum": {}, "blockchain": {"ethereum": {}}})
    assert "'ethereum' stands both at the top and in 'blockchain'" in told


@pytest.mark.parametrize("document", [{}, {"epochs": 3}, {"blockchain": {}}, {"blockchain": {"debug": True}}])
def test_where_no_network_is_named_the_embedded_ones_are_used(load, document):
    config = load(document)
    assert config.selected == tuple(DEFAULT_DOCUMENT["blockchain"]["networks"])
    assert config.networks["ethereum"].settings.rpc_url == "embedded"
    assert config.debug is bool(document.get("blockchain"))


def test_networks_follow_the_document_and_switches_switch_off(load):
    section = {"node": {}, "second": {"driver": "node", "port": 2}, "third": {"driver": "node", "enabled": False}}
    config = load({"blockchain": section})
    assert config.selected == ("node", "second")
    assert list(config.networks) == ["node", "second", "third"]
    assert [network.driver for network in config.networks.values()] == ["node"] * 3
    chosen = load({"blockchain": {**section, "networks": ["third", "second"]}})
    assert chosen.selected == ("second",)
    assert list(chosen.networks) == ["third", "second", "node"]
    assert load({"blockchain": {**section, "enabled": False}}).selected == ()


def test_a_listed_driver_needs_no_section(load):
    assert load({"blockchain": {"networks": ["node"]}}).networks["node"].settings == NodeSettings()


def test_named_networks_must_be_configured(load):
    config = load({"blockchain": {"node": {}, "second": {"driver": "node"}}})
    assert config.require_networks(None) == ("node", "second")
    assert config.require_networks(["second", "second"]) == ("second",)
    assert config.require_networks("node") == ("node",)
    with pytest.raises(ConfigurationError, match="unknown network 'secnd'") as failure:
        config.require_networks(["secnd"])
    assert failure.value.hint == "did you mean 'second'?"


def test_keys_of_the_training_stay_the_trainings(load):
    training = {
        "network": "resnet",
        "model": {"blocks": 4},
        "debug": True,
        "verification": "holdout",
        "storage_options": {"key": "s3"},
        "hash": "md5",
        "algorithm": "sgd",
        "enabled": 1,
        "log_every": 10,
        "logger": {"level": "info"},
        "node": "gpu-7",
    }
    assert dict(load({**training, "blockchain": {"node": {}}}).training) == training


def test_the_trainings_part_of_a_document_holds_no_keys(load):
    document = {
        "epochs": 5,
        "node": {"key": SENTINEL},
        "second": {"key": SENTINEL},
        "blockchain": {"ethereum": {"private_key": KEY}, "second": {"driver": "node"}},
        "ethereum": "a text of the training's own",
    }
    part = load({**document, "node": {}}).without_networks(document)
    assert part == {"epochs": 5, "ethereum": "a text of the training's own"}


def test_a_mapping_is_not_changed_and_no_part_of_the_result_can_be(load):
    document = {"epochs": 1, "ethereum": {"gas_limit": 500_000}, "blockchain": {"node": {"port": 7}}}
    before = json.dumps(document)
    config = load(document)
    assert json.dumps(document) == before
    with pytest.raises(TypeError):
        config.networks["node"] = None
    with pytest.raises(TypeError):
        config.training["epochs"] = 2


def test_numbers_are_numbers_however_json_writes_them(load):
    config = load({"blockchain": {"node": {"timeout": 5, "port": 80.0}, "verification": {"require": 1.0}}})
    assert config.networks["node"].settings.timeout == 5
    assert config.networks["node"].settings.port == 80
    assert config.policy.require == 1


# Where it comes from.


def test_the_file_to_use(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MRV_CONFIG", raising=False)
    assert find_config() is None
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/blockchain_config.json").write_text("{}")
    assert find_config() == Path("configs/blockchain_config.json")
    monkeypatch.setenv("MRV_CONFIG", "other.json")
    assert find_config() == Path("other.json")
    monkeypatch.setenv("MRV_CONFIG", "")
    assert find_config() == Path("configs/blockchain_config.json")
    assert find_config("mine.json") == Path("mine.json")


def test_a_file_that_is_there_and_cannot_be_read_is_not_passed_over(refuse, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MRV_CONFIG", raising=False)
    Path("configs").symlink_to("configs")
    assert "cannot read configs/blockchain_config.json: " in refuse(find_config())
    Path("configs").unlink()
    Path("configs/blockchain_config.json").parent.mkdir()
    Path("configs/blockchain_config.json").symlink_to("nowhere")
    assert "cannot read configs/blockchain_config.json: No such file" in refuse(find_config())


def test_a_path_may_be_text(load, tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"blockchain": {"node": {"port": 5}}}')
    assert load(str(path)) == load(path)
    assert load(path).source == str(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not JSON"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'{"blockchain": {"node": {}, "node": {}}}', "at /blockchain: key 'node' appears twice"),
        (b'{"lr": NaN}', "at /lr: NaN is not JSON"),
        (b'{"lr": 1e999}', "at /lr: number too large"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"[" * 100_000, "nested deeper"),
        (b" " * 2**21, "more than the 1048576 bytes allowed"),
        (b"{'blockchain': {}}", "not JSON"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_by_its_path(refuse, tmp_path, content, told):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    message = refuse(path)
    assert message.startswith(f"{path}: ")
    assert told in message


def test_a_missing_or_odd_file_is_a_configuration_error(refuse, tmp_path):
    assert f"cannot read {tmp_path}/none.json: No such file" in refuse(tmp_path / "none.json")
    assert "not a regular file" in refuse(tmp_path)
    assert "cannot read" in refuse("nul\0byte")


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"lr": float("nan")}, "nan at /lr has no JSON form"),
        ({1: 2}, "a key of type int"),
        ({"blockchain": {"node": {"path": Path("x")}}}, "value at /blockchain/node/path has type pathlib."),
        ({"data": object()}, "value at /data has type builtins.object"),
        ({"big": 2**60}, "integer at /big"),
    ],
)
def test_a_mapping_that_json_cannot_carry_is_refused_by_its_key(refuse, document, told):
    assert told in refuse(document)


# Misspelt and misplaced.


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"blokchain": {}}, "unknown key 'blokchain' | did you mean 'blockchain'?"),
        ({"Blockchain": {}}, "unknown key 'Blockchain' | did you mean 'blockchain'?"),
        ({"hash_algo": "sha256"}, "unknown key 'hash_algo' | did you mean 'hash_algorithm'?"),
        ({"etherum": {}}, "unknown key 'etherum' | did you mean 'ethereum'?"),
        ({"networks": ["log"]}, "'networks' stands at the top | move it into 'blockchain'"),
        ({"blockchain": {"netwroks": ["log"]}}, "blockchain: unknown key 'netwroks' | did you mean 'networks'?"),
        ({"blockchain": {"debgu": True}}, "blockchain: unknown key 'debgu' | did you mean 'debug'?"),
        ({"blockchain": {"storage_option": {}}}, "'storage_option' | did you mean 'storage_options'?"),
        ({"blockchain": {"etherum": {}}}, "unknown network 'etherum' | did you mean 'ethereum'?"),
        ({"blockchain": {"Ethereum": {}}}, "unknown network 'Ethereum' | did you mean 'ethereum'?"),
        ({"blockchain": {"networks": ["etherum"]}}, "networks: unknown network 'etherum' | did you mean 'ethereum'?"),
        ({"blockchain": {"networks": ["lgo"]}}, "networks: unknown network 'lgo' | did you mean 'log'?"),
        ({"blockchain": {"networks": ["zzz"]}}, "unknown network 'zzz' | known: bitcoin, ethereum, ipfs, log, node"),
        ({"blockchain": {"networks": ["secnd"], "second": {"driver": "node"}}}, "did you mean 'second'?"),
        (
            {"blockchain": {"ethereum": {"gas_limt": 1}}},
            "blockchain.ethereum: unknown key 'gas_limt' | did you mean 'g",
        ),
        ({"blockchain": {"node": {"Url": "x"}}}, "blockchain.node: unknown key 'Url' | did you mean 'url'?"),
        ({"blockchain": {"storage_options": {"store_befor_training": True}}}, "storage_options.store_befor_training"),
        ({"blockchain": {"verification": {"requires": 1}}}, "blockchain.verification.requires"),
        ({"blockchain": {"x": {"driver": "nod"}}}, "blockchain.x: there is no driver 'nod' | did you mean 'node'?"),
        ({"blockchain": {"networks": ["node", "node"]}}, "blockchain.networks names a network twice"),
        ({"blockchain": {"q" * 500: 1}}, "unknown key 'qqq"),
    ],
)
def test_misspelt_keys_are_refused_with_a_suggestion(refuse, document, told):
    message = refuse(document)
    assert told in message
    assert len(message) < 300


@pytest.mark.parametrize("name", ["Sepolia", "../up", "a/b", "", "-x", "ä", "a b", "x" * 33, "nul\0", "."])
def test_a_name_that_cannot_be_a_folder_is_refused(refuse, name):
    assert "cannot be the name of a network" in refuse({"blockchain": {name: {"driver": "node"}}})


@pytest.mark.parametrize("name", ["sepolia", "eth-2", "7", "a_b", "x" * 32])
def test_other_names_are_free(load, name):
    assert load({"blockchain": {name: {"driver": "node"}}}).selected == (name,)


# Wrong values.


@pytest.mark.parametrize(
    ("section", "told"),
    [
        (None, "'blockchain' must be an object"),
        ([], "'blockchain' must be an object"),
        ({"enabled": "yes"}, "blockchain.enabled: Input should be a valid boolean"),
        ({"enabled": 1}, "blockchain.enabled: Input should be a valid boolean"),
        ({"networks": "node"}, "blockchain.networks: Input should be a valid array"),
        ({"networks": [1]}, "blockchain.networks.0: Input should be a valid string"),
        ({"node": "on"}, "blockchain.node must be an object"),
        ({"node": None}, "blockchain.node must be an object"),
        ({"node": {"port": "80"}}, "blockchain.node.port: Input should be a valid integer"),
        ({"node": {"port": True}}, "blockchain.node.port: Input should be a valid integer"),
        ({"node": {"port": 0}}, "blockchain.node.port: Input should be greater than or equal to 1"),
        ({"node": {"timeout": 0}}, "blockchain.node.timeout: Input should be greater than 0"),
        ({"node": {"timeout": "30"}}, "blockchain.node.timeout: Input should be a valid number"),
        ({"node": {"retry_attempts": 0}}, "blockchain.node.retry_attempts: "),
        ({"node": {"driver": 5}}, "blockchain.node.driver must be the name of a driver"),
        ({"node": {"url": 8545}}, "blockchain.node.url: Input should be a valid string"),
        ({"node": {}, "verification": {"require": 0}}, "verification.require: must be 'all' or a number of networks"),
        ({"node": {}, "verification": {"require": -1}}, "verification.require: must be 'all' or a number of networks"),
        ({"node": {}, "verification": {"require": True}}, "verification.require: must be 'all' or a number"),
        ({"node": {}, "verification": {"require": "most"}}, "verification.require: must be 'all' or a number"),
        ({"node": {}, "verification": {"require": 2}}, "verification.require is 2, but 1 networks are selected"),
        ({"node": {}, "verification": {"state": "DONE"}}, "blockchain.verification.state: Input should be 'PENDING'"),
        ({"storage_options": {"store_before_training": "no"}}, "blockchain.storage_options.store_before_training: "),
        ({"ethereum": {"gas_price": "fast"}}, "blockchain.ethereum.gas_price"),
    ],
)
def test_wrong_values_are_refused_by_their_key(refuse, section, told):
    assert told in refuse({"blockchain": section})


def test_a_policy_for_nothing_is_no_contradiction(load):
    config = load({"blockchain": {"enabled": False, "node": {}, "verification": {"require": 2}}})
    assert config.policy.require == 2


@pytest.mark.parametrize(
    ("algorithm", "told"),
    [
        ("SHA256", "hash_algorithm: unknown hash algorithm 'SHA256' | did you mean 'sha256'?"),
        ("md5", "hash_algorithm: unknown hash algorithm 'md5'"),
        (None, "hash_algorithm: unknown hash algorithm 'None'"),
        (["sha256"], "hash_algorithm: unknown hash algorithm"),
        (256, "hash_algorithm: unknown hash algorithm '256'"),
    ],
)
def test_a_hash_algorithm_is_exact(refuse, algorithm, told):
    assert told in refuse({"hash_algorithm": algorithm})


# The environment.


def test_variables_win_over_the_document_and_the_later_name_over_the_earlier(load):
    document = {"blockchain": {"node": {"url": "http://document", "key": "from-document"}}}
    assert load(document).networks["node"].settings.url == "http://document"
    assert load(document, NODE_URL="http://one").networks["node"].settings.url == "http://one"
    both = load(document, MY_NODE_URL="http://two", NODE_URL="http://one", NODE_KEY="from-variable")
    assert both.networks["node"].settings.url == "http://two"
    assert both.networks["node"].settings.key.get_secret_value() == "from-variable"
    assert load(document, NODE_URL="").networks["node"].settings.url == "http://document"


def test_variables_of_the_seeds_reach_the_ethereum_section(load):
    one = load(None, BLOCKCHAIN_RPC_URL="http://a", CONTRACT_ADDRESS="0x" + "11" * 20, PRIVATE_KEY=KEY)
    settings = one.networks["ethereum"].settings
    assert (settings.rpc_url, settings.contract_address) == ("http://a", "0x" + "11" * 20)
    assert settings.private_key.get_secret_value() == KEY
    two = load(None, BLOCKCHAIN_RPC_URL="http://a", ETH_RPC_URL="http://b", PRIVATE_KEY="11" * 32, ETH_PRIVATE_KEY=KEY)
    assert two.networks["ethereum"].settings.rpc_url == "http://b"
    assert two.networks["ethereum"].settings.private_key.get_secret_value() == KEY


@pytest.mark.parametrize(
    ("network", "chain_id"), [("mainnet", 1), ("sepolia", 11155111), ("polygon", 137), ("arbitrum", 42161)]
)
def test_the_name_of_a_chain_stands_for_its_id(load, refuse, network, chain_id):
    assert load(None, NETWORK=network).networks["ethereum"].settings.chain_id == chain_id
    same = load({"blockchain": {"ethereum": {"network": network, "chain_id": chain_id}}})
    assert same.networks["ethereum"].settings.chain_id == chain_id
    told = refuse({"blockchain": {"ethereum": {"chain_id": 5}}}, NETWORK=network)
    assert f"blockchain.ethereum: network {network} has the chain_id {chain_id}, not the one given" in told


def test_a_development_chain_has_any_id_and_other_names_are_refused(load, refuse):
    assert load(None, NETWORK="localhost").networks["ethereum"].settings.chain_id is None
    local = load({"blockchain": {"ethereum": {"network": "localhost", "chain_id": 31337}}})
    assert local.networks["ethereum"].settings.chain_id == 31337
    told = refuse(None, NETWORK="bridge")
    assert "blockchain.ethereum.network: Input should be 'localhost', 'mainnet'" in told
    assert "environment variable NETWORK" in told
    assert "blockchain.ethereum.network" in refuse({"blockchain": {"ethereum": {"network": ["sepolia"]}}})


def test_variables_speak_of_the_network_named_like_the_driver_only(load):
    config = load({"blockchain": {"node": {}, "second": {"driver": "node"}}}, NODE_URL="http://one")
    assert [network.settings.url for network in config.networks.values()] == ["http://one", "embedded"]


def test_the_process_environment_is_the_default(registry, monkeypatch):
    monkeypatch.setenv("NODE_URL", "http://process")
    assert load_config({"blockchain": {"node": {}}}, registry=registry).networks["node"].settings.url == (
        "http://process"
    )


def test_a_wrong_variable_is_named(refuse):
    told = refuse({"blockchain": {"node": {}}}, NODE_KEY="short")
    assert "blockchain.node.key: " in told
    assert told.endswith("| its value comes from the environment variable NODE_KEY")
    assert "lone surrogate in the text at /url" in refuse({"blockchain": {"node": {}}}, NODE_URL="\udcff")


@pytest.mark.parametrize(
    "placeholder",
    [
        "your_private_key_here",
        "YOUR_PRIVATE_KEY",
        "0xyour_private_key",
        "your-api-key",
        "<private key>",
        "https://sepolia.infura.io/v3/YOUR_PROJECT_ID",
        "https://mainnet.infura.io/v3/<key>",
        "http://your-node:8545",
        "changeme",
        "change_me",
        "REPLACE-ME",
        "placeholder",
        "todo",
        "xxxx",
        "0x...",
        "...",
        "$ETH_PRIVATE_KEY",
        "${ETH_PRIVATE_KEY}",
        "0x" + "0" * 64,
        " your_key ",
    ],
)
def test_placeholders_are_refused_by_their_key_and_replaced_by_a_variable(load, refuse, placeholder):
    document = {"blockchain": {"node": {"url": placeholder}}}
    told = refuse(document)
    assert told.endswith("blockchain.node.url still holds a placeholder | set the environment variable MY_NODE_URL")
    assert load(document, NODE_URL="http://real").networks["node"].settings.url == "http://real"
    told = refuse({"blockchain": {"node": {}}}, NODE_URL=placeholder)
    assert told.endswith("blockchain.node.url still holds a placeholder | correct the environment variable NODE_URL")
    assert refuse({"blockchain": {"node": {"path": placeholder}}}).endswith("| write the real value")


@pytest.mark.parametrize(
    "value",
    [
        "https://yours.example",
        "http://node.example/your",
        "/data/your_runs",
        "/home/todo/list",
        "embedded",
        "0x" + "0" * 63 + "1",
        "https://user:p$w@host:1/v3/$x",
        "xx",
    ],
)
def test_what_only_resembles_a_placeholder_is_a_value(load, value):
    assert load({"blockchain": {"node": {"url": value}}}).networks["node"].settings.url == value


# Secrets.

SECRETS: list[tuple[Any, dict[str, str]]] = [
    ({"blockchain": {"node": {"key": "x" + SENTINEL * 2}}}, {}),
    ({"blockchain": {"node": {"key": [SENTINEL]}}}, {}),
    ({"blockchain": {"node": {"key": {"value": SENTINEL}}}}, {}),
    ({"blockchain": {"node": {"key": f"your_{SENTINEL}"}}}, {}),
    ({"blockchain": {"node": {"key": SENTINEL, "prot": 1}}}, {}),
    ({"blockchain": {"node": {"key": SENTINEL, "port": SENTINEL}}}, {}),
    ({"blockchain": {"node": {"key": SENTINEL, "headers": [SENTINEL]}}}, {}),
    ({"blockchain": {"node": {"key": SENTINEL, "headers": {"Authorization": 5}, "url": ["http://u:" + SENTINEL]}}}, {}),
    ({"blockchain": {"node": {"key": SENTINEL}, "netwroks": [SENTINEL]}}, {}),
    ({"blockchain": {"node": {"key": SENTINEL}, "networks": SENTINEL}}, {}),
    ({"blockchain": {"node": {"key": SENTINEL, "driver": [SENTINEL]}}}, {}),
    ({"blockchain": {"node": SENTINEL}}, {}),
    ({"blockchain": SENTINEL}, {}),
    ({"blockchain": {"node": {}}}, {"NODE_KEY": SENTINEL * 2}),
    ({"blockchain": {"node": {}}}, {"NODE_URL": f"${{{SENTINEL}}}"}),
    ({"blockchain": {"node": {}}}, {"NODE_URL": f"{SENTINEL}\udcff"}),
    ({"blockchain": {"ethereum": {"private_key": SENTINEL}}}, {}),
    ({"blockchain": {"ethereum": {"private_key": "0x" + SENTINEL}}}, {"ETH_RPC_URL": f"ftp://{SENTINEL}"}),
    ({"blockchain": {"ethereum": {"rpc_url": f"http://u:{SENTINEL}@[::1"}}}, {}),
    ({"epochs": float("nan"), "blockchain": {"node": {"key": SENTINEL}}}, {}),
    ('{"blockchain": {"node": {"key": "' + SENTINEL + '", "key": "' + SENTINEL + '"}}}', {}),
    ('{"blockchain": {"node": {"key": "' + SENTINEL + "}}}", {}),
    ('{"blockchain": {"node": {"key": ' + str(int(SENTINEL, 16)) + "}}}", {}),
    ('{"blockchain": {"node": {"key": "' + SENTINEL + '\\ud800"}}}', {}),
    ('{"hash_algorithm": "md5", "blockchain": {"node": {"key": "' + SENTINEL + '"}}}', {}),
]


@pytest.mark.parametrize(("source", "environment"), SECRETS, ids=range(len(SECRETS)))
def test_no_refusal_repeats_a_secret(load, tmp_path, caplog, source, environment):
    caplog.set_level(logging.DEBUG)
    if isinstance(source, str):
        (tmp_path / "config.json").write_text(source)
        source = tmp_path / "config.json"
    with pytest.raises(ConfigurationError) as failure:
        load(source, **environment)
    error: BaseException | None = failure.value
    told = ["".join(traceback.format_exception(failure.value)), str(failure.value.hint), caplog.text]
    while error is not None:
        told.append(f"{error!r} {error} {error.args}")
        error = error.__cause__ or error.__context__
    for secret in (SENTINEL, str(int(SENTINEL, 16))[:20]):
        assert secret not in "\n".join(told)


def test_a_loaded_configuration_does_not_show_its_secrets(load, caplog):
    caplog.set_level(logging.DEBUG)
    config = load({"blockchain": {"node": {"key": SENTINEL}}}, ETH_PRIVATE_KEY=KEY)
    shown = [repr(config), str(config), str(config.networks["node"].settings.to_json()), caplog.text]
    assert SENTINEL not in "\n".join(shown)
    assert KEY not in "\n".join(shown)
    assert config.networks["node"].settings.key.get_secret_value() == SENTINEL


# Anything at all.

keys = st.sampled_from([*NodeSettings.model_fields, "blockchain", "networks", "node", "ethereum", "verification", "x"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["node", "all"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(section=values, top=st.dictionaries(keys, values, max_size=2))
def test_any_document_loads_or_is_refused_as_a_configuration(section, top):
    registry = Registry()
    registry.add_plugin(MemoryLike(), "node")
    try:
        config = load_config({**top, "blockchain": section}, registry=registry, environment={})
    except ConfigurationError as error:
        refused = error
    else:
        refused = None
        assert set(config.selected) <= set(config.networks)
    assert refused is None or refused.message.isprintable()


class MemoryLike:
    @hookimpl
    def mrv_register_drivers(self, register):
        place = "mrv_core.testing.memory:MemorySettings"
        for name in ("node", "ethereum", "ipfs", "log"):
            register(name, DriverFactory("nowhere:Driver", place, "", "for a test"))


# The schema.


def test_the_published_schema_is_the_generated_one(installed):
    published = json.loads((ROOT / "docs/blockchain_config.schema.json").read_text())
    assert published == config_schema(installed), "run: mrv config schema > docs/blockchain_config.schema.json"


def test_the_schema_accepts_what_loads_and_refuses_what_does_not(load, refuse, registry):
    schema = config_schema(registry)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    good = [
        {},
        {"epochs": 1, "hash_algorithm": "sha3-256"},
        {"blockchain": {"node": {"port": 5}, "second": {"driver": "node", "url": "http://x"}}},
        {"blockchain": {"enabled": False, "networks": ["log"], "verification": {"require": 1, "state": "INCLUDED"}}},
    ]
    bad = [
        {"hash_algorithm": "SHA256"},
        {"blockchain": []},
        {"blockchain": {"netwroks": []}},
        {"blockchain": {"ethereum": {"gas_limt": 1}}},
        {"blockchain": {"etherum": {}}},
        {"blockchain": {"second": {"driver": "node", "prot": 5}}},
        {"blockchain": {"second": {"driver": "nod"}}},
        {"blockchain": {"Second": {"driver": "node"}}},
        {"blockchain": {"verification": {"require": 0}}},
        {"blockchain": {"node": {"timeout": 0}}},
        {"blockchain": {"storage_options": {"store_before_training": 1}}},
    ]
    for document in good:
        load(document)
        assert validator.is_valid(document), document
    for document in bad:
        refuse(document)
        assert not validator.is_valid(document), document


def test_unknown_names_are_reported_even_where_nothing_is_installed():
    with pytest.raises(ConfigurationError) as failure:
        load_config({"blockchain": {"networks": ["log"]}}, registry=Registry(), environment={})
    assert failure.value.hint == "known: none"
    assert config_module.DEFAULT_CONFIG_PATH.name == "blockchain_config.json"
