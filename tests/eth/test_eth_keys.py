# SPDX-License-Identifier: MIT
"""Keys: where they may stand, which are refused, and that nothing of them is ever shown."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from pydantic import SecretStr

from mrv_backends_eth.keys import Wallet
from mrv_backends_eth.settings import EthereumSettings
from mrv_core.config import load_config
from mrv_core.errors import ConfigurationError
from mrv_core.hashing import HashFactory
from mrv_core.models import NO_METADATA

KEY = "5e47" * 16
PASSWORD = "5e47-of-the-keystore"
NODE = "http://127.0.0.1:8545"


def write(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def wallet(**settings: Any) -> Wallet:
    return Wallet(EthereumSettings(rpc_url=NODE, **settings), "ethereum")


@pytest.fixture(scope="module")
def keystore() -> str:
    """A keystore of version 3 with little work in it."""
    return json.dumps(Account.encrypt("0x" + KEY, PASSWORD, kdf="pbkdf2", iterations=2))


# Where it comes from.


def test_a_key_from_each_place_is_the_same(tmp_path: Path, keystore: str) -> None:
    places: list[dict[str, Any]] = [
        {"private_key": SecretStr("0x" + KEY)},
        {"private_key_file": write(tmp_path / "bare", KEY)},
        {"private_key_file": write(tmp_path / "prefixed", f"0x{KEY.upper()}\n", 0o400)},
        {"private_key_file": write(tmp_path / "store", keystore), "keystore_password": SecretStr(PASSWORD)},
        {
            "private_key_file": str(tmp_path / "store"),
            "keystore_password_file": write(tmp_path / "password", PASSWORD + "\n"),
        },
    ]
    for place in places:
        mine = wallet(**place)
        assert mine.key(1).hex() == KEY
        assert mine.address() == bytes.fromhex(Account.from_key(KEY).address[2:])
    assert wallet().address() is None


def test_public_keystores(vectors: Path, tmp_path: Path) -> None:
    cases = json.loads((vectors / "eth-keystore" / "basic_tests.json").read_text())
    for name, case in cases.items():
        path = write(tmp_path / name, json.dumps(case["json"]))
        mine = wallet(private_key_file=path, keystore_password=SecretStr(case["password"]))
        assert mine.key(31337).hex() == case["priv"], name
    assert len(cases) == 4


def test_an_anchor_is_signed_with_a_keystore(chain: Any, tmp_path: Path) -> None:
    store = json.dumps(Account.encrypt(chain.key, PASSWORD, kdf="pbkdf2", iterations=2))
    path = write(tmp_path / "store", store)
    driver = chain.driver(private_key=None, private_key_file=path, keystore_password=SecretStr(PASSWORD))
    commitment = HashFactory.digest(b"a run", "sha256")
    receipt = driver.submit(driver.prepare(commitment, NO_METADATA))
    assert chain.rpc("eth_getTransactionByHash", receipt.reference)["from"] == chain.address.lower()


# What is refused.


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o602, 0o777])
def test_a_file_that_others_can_read_or_write_is_refused(tmp_path: Path, keystore: str, mode: int) -> None:
    key = write(tmp_path / "key", KEY, mode)
    with pytest.raises(
        ConfigurationError, match=r"ethereum\.private_key_file: .* can be read or written by others"
    ) as failure:
        wallet(private_key_file=key).key(1)
    assert f"chmod 600 {key}" in str(failure.value.hint)
    password = write(tmp_path / "password", PASSWORD, mode)
    mine = wallet(private_key_file=write(tmp_path / "store", keystore), keystore_password_file=password)
    with pytest.raises(ConfigurationError, match=r"ethereum\.keystore_password_file: .* by others"):
        mine.key(1)


def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "key", KEY)
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(path, 12345, -1)
    with pytest.raises(ConfigurationError, match="belongs to another user"):
        wallet(private_key_file=path).key(1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "neither a private key nor a keystore"),
        (KEY[:-1], "neither a private key nor a keystore"),
        (KEY + KEY, "neither a private key nor a keystore"),
        ("0" * 64, "neither a private key nor a keystore"),
        ("f" * 64, "neither a private key nor a keystore"),
        ("{", "private_key_file"),
        ("{}", "cannot be decrypted"),
        ('{"version": 3, "crypto": {"kdf": "5e47"}}', "cannot be decrypted"),
        ('{"version": 3, "version": 3}', "appears twice"),
        ("x" * 70_000, "not a small regular file"),
    ],
)
def test_files_that_hold_no_key(tmp_path: Path, content: str, message: str) -> None:
    mine = wallet(private_key_file=write(tmp_path / "key", content), keystore_password=SecretStr(PASSWORD))
    with pytest.raises(ConfigurationError, match=message):
        mine.key(1)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    write(tmp_path / "binary", "").encode()
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name, message in (
        ("absent", "No such file"),
        ("", "Is a directory"),
        ("binary", "holds no text"),
        ("nul\0", "not a path"),
    ):
        path = str(tmp_path / name) if name else str(tmp_path)
        with pytest.raises(ConfigurationError, match=message):
            wallet(private_key_file=path).key(1)
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(ConfigurationError, match="not a small regular file"):  # nobody writes to it, and nobody waits
        wallet(private_key_file=str(tmp_path / "fifo")).key(1)
    with pytest.raises(ConfigurationError, match="not a path"):
        wallet(private_key_file="~nobody-of-this-name/key").key(1)


def test_passwords_that_are_wrong_or_missing(tmp_path: Path, keystore: str) -> None:
    path = write(tmp_path / "store", keystore)
    with pytest.raises(ConfigurationError, match="cannot be decrypted: another password"):
        wallet(private_key_file=path, keystore_password=SecretStr("wrong")).key(1)
    with pytest.raises(ConfigurationError, match="the keystore needs a password") as failure:
        wallet(private_key_file=path).key(1)
    assert "ETH_KEYSTORE_PASSWORD" in str(failure.value.hint)


PUBLIC = (1, 11155111, 17000, 137, 42161, 10, 8453, 100)
WELL_KNOWN = (
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",  # anvil and Hardhat, first
    "2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6",  # anvil and Hardhat, tenth
    "4f3edf983ac636a65a842ce7c78d9aa706d3b113bce9c46f30d7d21715b23b1d",  # Ganache, first
    "c87509a1c067bbde78beb793e6fa76530b6382a4c0241e5e4a9ec0a0f44dc0d3",  # Truffle, first
    f"{1:064x}",
    f"{2**32 - 1:064x}",
)


@pytest.mark.parametrize("key", WELL_KNOWN)
def test_keys_that_everybody_knows_are_for_development_chains(key: str) -> None:
    mine = wallet(private_key=SecretStr(key))
    for chain_id in (31337, 1337):
        assert mine.key(chain_id).hex() == key
    for chain_id in PUBLIC:
        with pytest.raises(
            ConfigurationError, match=f"well-known one of development nodes; on chain {chain_id}"
        ) as failure:
            mine.key(chain_id)
        assert key not in f"{failure.value!r} {failure.value.hint}"


def test_all_keys_that_anvil_prints_are_known(chain: Any) -> None:
    Account.enable_unaudited_hdwallet_features()
    for number, address in enumerate(chain.rpc("eth_accounts")):
        path = f"m/44'/60'/0'/0/{number}"
        account = Account.from_mnemonic(
            "test test test test test test test test test test test junk", account_path=path
        )
        assert account.address.lower() == address
        with pytest.raises(ConfigurationError, match="well-known"):
            wallet(private_key=SecretStr(account.key.to_0x_hex())).key(1)


# A key in the configuration itself.


def read(environment: dict[str, str] | None = None, **section: Any) -> EthereumSettings:
    document = {"blockchain": {"networks": ["ethereum"], "ethereum": {"rpc_url": NODE, **section}}}
    settings = load_config(document, environment=environment or {}).networks["ethereum"].settings
    assert isinstance(settings, EthereumSettings)
    return settings


@pytest.mark.parametrize("place", [{"chain_id": 1}, {"network": "sepolia"}, {"chain_id": 5042}])
def test_a_key_in_the_configuration_of_a_public_chain_is_refused(place: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="private_key stands in the configuration") as failure:
        read(**place, private_key=KEY)
    assert "ETH_PRIVATE_KEY" in failure.value.message
    assert KEY not in f"{failure.value!r} {failure.value.hint}"
    with pytest.raises(ConfigurationError, match="keystore_password stands in the configuration"):
        read(**place, keystore_password=PASSWORD)
    assert read({"ETH_PRIVATE_KEY": KEY}, **place).private_key == SecretStr(KEY)
    assert read({"ETH_KEYSTORE_PASSWORD": PASSWORD}, **place).keystore_password == SecretStr(PASSWORD)
    assert read({"ETH_PRIVATE_KEY": KEY}, **place, private_key="0x" + "11" * 32).private_key == SecretStr(KEY)


def test_a_key_in_the_configuration_of_a_development_chain_is_taken() -> None:
    for chain_id in (31337, 1337):
        assert Wallet(read(chain_id=chain_id, private_key=KEY), "ethereum").key(chain_id).hex() == KEY


def test_a_key_in_a_configuration_without_a_chain_id_meets_the_chain_first(new_chain: Callable[..., Any]) -> None:
    """What the node turns out to be decides."""
    for chain_id, is_taken in ((31337, True), (5042, False)):
        chain = new_chain(chain_id=chain_id)
        settings = read(rpc_url=chain.url, contract_address=chain.contract, private_key=chain.key)
        driver = chain.driver()
        driver._chain._wallet._settings = settings
        commitment = HashFactory.digest(b"a run", "sha256")
        if is_taken:
            assert driver.prepare(commitment, NO_METADATA)
            continue
        with pytest.raises(ConfigurationError, match="on chain 5042: private_key stands in the configuration"):
            driver.prepare(commitment, NO_METADATA)


@pytest.mark.parametrize("key", [KEY, "0x" + KEY, f" {KEY}\n"])
def test_a_key_where_the_path_of_its_file_belongs_is_refused_and_not_shown(key: str) -> None:
    """A path is shown when there is nothing at its end."""
    for reading in (lambda: read(private_key_file=key), lambda: read({"ETH_PRIVATE_KEY_FILE": key})):
        with pytest.raises(ConfigurationError, match="private_key_file: this is a key itself") as failure:
            reading()
        assert KEY not in "".join(traceback.format_exception(failure.value))


def test_two_keys_are_one_too_many() -> None:
    with pytest.raises(ConfigurationError, match="private_key and private_key_file are both set"):
        read({"PRIVATE_KEY": KEY}, private_key_file="key")
    with pytest.raises(ConfigurationError, match="keystore_password and keystore_password_file are both set"):
        read({"ETH_KEYSTORE_PASSWORD": PASSWORD}, keystore_password_file="password")


# That it stays inside.


def test_nothing_shows_a_key(tmp_path: Path, keystore: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    settings = EthereumSettings(
        rpc_url=NODE,
        private_key_file=write(tmp_path / "store", keystore),
        keystore_password=SecretStr(PASSWORD),
    )
    mine = Wallet(settings, "ethereum")
    mine.key(1)
    shown = [repr(settings), str(settings), str(settings.to_json()), repr(mine), str(vars(settings)), caplog.text]
    for content in (KEY[:-1], keystore):
        broken = wallet(
            private_key_file=write(tmp_path / "broken", content), keystore_password=SecretStr(PASSWORD + "x")
        )
        try:
            broken.key(1)
        except ConfigurationError as error:
            shown.append("".join(traceback.format_exception(error)))
    assert len(shown) == 8
    assert not any(KEY[:-1] in text or PASSWORD in text for text in shown)
    assert KEY not in repr(EthereumSettings(rpc_url=f"http://user:{KEY}@127.0.0.1:1"))
