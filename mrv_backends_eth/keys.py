# SPDX-License-Identifier: MIT
"""The key that signs: from the environment, from a file that only its owner can read, or from an encrypted keystore."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Any, Final

from mrv_backends_eth import secp256k1
from mrv_backends_eth.chains import DEVELOPMENT
from mrv_backends_eth.libraries import loading
from mrv_backends_eth.settings import EthereumSettings, is_private_key, key_in_document
from mrv_core.canonical import parse_json
from mrv_core.errors import ConfigurationError, FormatError

_MAX_FILE_BYTES: Final = 64 * 1024
_OTHERS: Final = 0o077
_SMALL: Final = 1 << 32
"""Keys below are in every list of keys that thieves try."""

_WELL_KNOWN: Final = frozenset(
    "59891c96881dfbcf bca4c2c0761d850f 193ae84c4c9567c2 e25a680eff8baac7 6718ba8966161cc8 ac29b3735d1b5718 "
    "93e372c67f7238fa 59ad99d565557cc0 2d1831e800ec18fe 25061aad2bb09178 ea72a3e7d4937af3 e77b7f2257fe244c "
    "3d10abbc9c3e287b 6503803831c946cd 74f97a55058da1ba b8acf5d5eb4e7fd0 a9c85ef9ebbbe068 c188a572f30c631c "
    "ac70e04ef12b755b fd375fcf38ac71dd 433b2e1dfcf07cc1 a5088b88526dfdbe b3146d642538d280 34ec71e14eadf154 "
    "cf5f090ef5ad175d 0bf58c4947650475 3407c1890d719a17 c065f5ffb9bb9a19 4a95cb3ba84ec644 7ebf8ed1e0c24a0a "
    "1d80e6ae513519b6 b043db24b074f043 34410b3b5300a62b a3ba7c2d2e241ecb d75c21903e981b0d 411b9ef79d2dcf87 "
    "2b5c7062896da75f 933e5c84e477e126 cf7cd71b00662df5 69e77546e4bd3dbb 5a801427c8b7be62 5683701095df1272 "
    "4998ff08a7813035 69b8f3f9f4e2873c 49b7a6a8b8a6392a 77b8a0f88a30eba7 dfc44dbc519c691c dddb340ae3e6a05f "
    "f810d868d21fd859 d79f6da7f0e6e385".split()
)
"""SHA-256, first eight bytes, of the keys that anvil and Hardhat, Ganache and Truffle print when they start."""


class Wallet:
    """The key of one network. Read when it is first needed, and kept. Thread-safe.

    Args:
        settings: Where the key is.
        network: Configured name, for messages.
    """

    def __init__(self, settings: EthereumSettings, network: str) -> None:
        self._settings = settings
        self._network = network
        self._key: bytes | None = None
        self._address: bytes | None = None

    @property
    def has_key(self) -> bool:
        """Whether the settings name a key."""
        return self._settings.private_key is not None or self._settings.private_key_file is not None

    def key(self, chain_id: int) -> bytes:
        """Return the key, 32 bytes, for signing on a chain.

        Raises:
            ConfigurationError: there is none, it cannot be read, or it must not be used on this chain.
        """
        key = self._read()
        if chain_id not in DEVELOPMENT:
            self._refuse_careless(key, chain_id)
        return key

    def address(self) -> bytes | None:
        """Return the key's address, 20 bytes, or None where there is no key.

        Raises:
            ConfigurationError: it cannot be read.
        """
        if not self.has_key:
            return None
        if self._address is None:
            self._address = secp256k1.address_of_key(self._read())
        return self._address

    def _read(self) -> bytes:
        # Without a lock, which a fork in another thread would leave locked: reading it twice does no harm.
        if self._key is None:
            self._key = self._load()
        return self._key

    def _load(self) -> bytes:
        if self._settings.private_key is not None:
            return _bytes_of(self._settings.private_key.get_secret_value())
        if self._settings.private_key_file is None:
            raise ConfigurationError(
                f"{self._network}: no key to sign with",
                hint="set ETH_PRIVATE_KEY, or name a key file or keystore in private_key_file",
            )
        place = f"{self._network}.private_key_file"
        content = read_secret_file(self._settings.private_key_file, place)
        if content.lstrip().startswith("{"):
            return self._decrypt(content, place)
        if not is_private_key(content.strip()):
            raise ConfigurationError(
                f"{place} holds neither a private key nor a keystore", hint="it must hold 64 hexadecimal digits"
            )
        return _bytes_of(content.strip())

    def _decrypt(self, content: str, place: str) -> bytes:
        try:
            keystore = parse_json(content.encode(), what=place)
        except FormatError as error:
            raise ConfigurationError(error.message, hint="it must be a keystore of version 3") from error
        password = self._password()
        with loading("reading a keystore"):
            from eth_account import Account
        key = _decrypted(Account, keystore, password)
        if key is None:
            raise ConfigurationError(
                f"{place} cannot be decrypted: another password, or not a keystore of version 3",
                hint="check ETH_KEYSTORE_PASSWORD or keystore_password_file",
            )
        return key

    def _password(self) -> str:
        settings = self._settings
        if settings.keystore_password is not None:
            return settings.keystore_password.get_secret_value()
        if settings.keystore_password_file is not None:
            place = f"{self._network}.keystore_password_file"
            return read_secret_file(settings.keystore_password_file, place).rstrip("\r\n")
        raise ConfigurationError(
            f"{self._network}: the keystore needs a password",
            hint="set ETH_KEYSTORE_PASSWORD, or name a file with it in keystore_password_file",
        )

    def _refuse_careless(self, key: bytes, chain_id: int) -> None:
        if self._settings.key_is_in_document:
            raise ConfigurationError(f"{self._network}, on chain {chain_id}: {key_in_document()}")
        if int.from_bytes(key, "big") < _SMALL or hashlib.sha256(key).hexdigest()[:16] in _WELL_KNOWN:
            raise ConfigurationError(
                f"{self._network}: the key is a well-known one of development nodes; on chain {chain_id} anyone would "
                "take what its account holds",
                hint="make a key of your own; see docs/networks/ethereum.md",
            )


def read_secret_file(name: str, place: str) -> str:
    """Return the text of a file that belongs to us and that nobody else can read or write.

    Args:
        name: Path; `~` is the home folder.
        place: The setting that names it, for messages, which never repeat its content.

    Raises:
        ConfigurationError: it cannot be read, is too large, or others can read or write it.
    """
    path = Path(name)
    try:
        path = path.expanduser()
        with open(path, "rb", opener=_at_once) as file:
            found = os.fstat(file.fileno())
            content = file.read(_MAX_FILE_BYTES + 1) if stat.S_ISREG(found.st_mode) else None
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: the home folder of nobody
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise ConfigurationError(f"{place}: {path}: {reason}", hint="correct the path or the file's mode") from None
    if content is None or len(content) > _MAX_FILE_BYTES:
        raise ConfigurationError(f"{place}: {path} is not a small regular file")
    if found.st_mode & _OTHERS or found.st_uid != os.geteuid():
        raise ConfigurationError(
            f"{place}: {path} can be read or written by others, or belongs to another user",
            hint=f"chmod 600 {path}; if others could read it, take a new key",
        )
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{place}: {path} holds no text") from None


def _at_once(path: str, flags: int) -> int:
    """Open a file; a pipe that nobody writes to would keep us waiting."""
    return os.open(path, flags | os.O_NONBLOCK)


def _bytes_of(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _decrypted(account: Any, keystore: Any, password: str) -> bytes | None:
    """Return the key in a keystore, or None; the library's errors hold what they were given."""
    try:
        key = bytes(account.decrypt(keystore, password))
    except Exception:  # of a file that is no keystore the library makes any exception
        return None
    return key if is_private_key(key.hex()) else None
