# SPDX-License-Identifier: MIT
"""The embedded chain's file: one SQLite table of keys and values, written by py-evm and read without it.

py-evm keeps headers, transactions, receipts and the nodes of every trie under their hash, plus three small
indexes under textual keys (`eth.db.schema.SchemaV1`). Reading that directly is what lets a verifier do without an
EVM and its imports. Every value under a hash is checked against it.

The file uses SQLite's rollback journal, not WAL: it is then complete in itself, can be copied, and can be read
from a medium that cannot be written.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from mrv_backends_eth import contract as mlprovenance
from mrv_backends_eth import rlp, trie
from mrv_backends_eth.evidence import EthereumEvidence
from mrv_backends_eth.headers import Header
from mrv_backends_eth.hexadecimal import to_hex
from mrv_backends_eth.keccak import keccak256
from mrv_core.errors import AnchorNotFoundError, BackendUnavailableError, StorageError, VerificationError
from mrv_core.files import make_folder

APPLICATION_ID: Final = 0x4D525645
"""Marks the file as ours (`MRVE`), so that no other SQLite file is taken for a chain."""
HEAD_KEY: Final = b"v1:canonical_head_hash"


class DamagedStoreError(Exception):
    """The file's content contradicts itself; becomes a `BackendUnavailableError` at this module's edge."""


class ChainReader:
    """Read access to a chain within one transaction of its file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key."""
        row = self._connection.execute("SELECT value FROM chain WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        if not isinstance(row[0], bytes):
            raise DamagedStoreError("a value is not made of bytes")
        return row[0]

    def head(self) -> Header:
        """Return the newest header."""
        digest = self.get(HEAD_KEY)
        if digest is None:
            raise DamagedStoreError("it has no newest block")
        return self._header(digest)

    def canonical(self, number: int) -> Header | None:
        """Return the chain's header of a height, or None where the chain is shorter."""
        if number > self.head().number:
            return None
        entry = self.get(f"block-number-to-hash:{number}".encode())
        if entry is None:
            raise DamagedStoreError(f"block {number} is missing")
        header = self._header(rlp.as_bytes(rlp.decode(entry), what="block hash"))
        if header.number != number:
            raise DamagedStoreError(f"block {header.number} stands in the place of block {number}")
        return header

    def has_transaction(self, transaction_hash: bytes) -> bool:
        """Tell whether a transaction is in the chain."""
        return self._position(transaction_hash) is not None

    def evidence(self, transaction_hash: bytes, contract: bytes) -> EthereumEvidence:
        """Collect the evidence for an anchor.

        Raises:
            AnchorNotFoundError: no such transaction, or one that anchored nothing.
        """
        self.head()  # a file without a chain cannot tell that something is not there
        position = self._position(transaction_hash)
        header = self.canonical(position[0]) if position else None
        if position is None or header is None:
            raise AnchorNotFoundError(f"transaction {to_hex(transaction_hash)} is not in the embedded chain")
        key = rlp.encode_int(position[1])
        _, transaction_proof = trie.prove(header.transactions_root, key, self._hashed)
        receipt, receipt_proof = trie.prove(header.receipts_root, key, self._hashed)
        event = mlprovenance.find_submission(receipt or b"", contract)
        if event is None:
            raise AnchorNotFoundError(f"transaction {to_hex(transaction_hash)} failed, or did not call the contract")
        account_proof, storage_proof = self._state_proofs(header, contract, event)
        return EthereumEvidence(
            block_number=header.number,
            block_hash=header.hash,
            header=self._hashed(header.hash),
            contract=contract,
            submitter=event.submitter,
            transaction_index=position[1],
            transaction_proof=tuple(transaction_proof),
            receipt_proof=tuple(receipt_proof),
            account_proof=tuple(account_proof),
            storage_proof=tuple(storage_proof),
        )

    def _state_proofs(
        self, header: Header, contract: bytes, event: mlprovenance.HashSubmitted
    ) -> tuple[list[bytes], list[bytes]]:
        account, account_proof = trie.prove(header.state_root, keccak256(contract), self._hashed)
        _, _, storage_root, _ = rlp.decode_list(account or b"", what="account", length=4)
        slot = mlprovenance.submission_slot(event.submitter, event.root)
        root = rlp.as_bytes(storage_root, what="storage root", size=32)
        _, storage_proof = trie.prove(root, keccak256(slot), self._hashed)
        return account_proof, storage_proof

    def _position(self, transaction_hash: bytes) -> tuple[int, int] | None:
        entry = self.get(f"transaction-hash-to-block:{transaction_hash!r}".encode())
        if entry is None:
            return None
        number, index = rlp.decode_list(entry, what="transaction index", length=2)
        return rlp.as_int(number, what="block number"), rlp.as_int(index, what="index")

    def _header(self, digest: bytes) -> Header:
        return Header.parse(self._hashed(digest))

    def _hashed(self, digest: bytes) -> bytes:
        value = self.get(digest)
        if value is None or keccak256(value) != digest:
            raise DamagedStoreError(f"the value under {to_hex(digest)} is missing or changed")
        return value


def is_begun(path: Path) -> bool:
    """Tell whether there is a file with anything in it.

    Raises:
        BackendUnavailableError: that cannot be found out.
    """
    with _translated(path):
        return path.exists() and path.stat().st_size > 0


@contextmanager
def reading(path: Path, timeout_s: float) -> Iterator[ChainReader]:
    """Open an existing chain for reading. Never creates a file, not even beside it.

    Raises:
        BackendUnavailableError: there is no chain, or it cannot be read, or it is damaged.
    """
    with _translated(path):
        if not path.is_file():
            hint = "put the file back where it was when the run was anchored"
            raise BackendUnavailableError(f"the embedded chain {path} is not there", hint=hint)
        # `rw` without `c`: SQLite must be able to undo a write that was killed half way, which `ro` forbids.
        uri = f"{path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=timeout_s, isolation_level=None)) as opened:
            opened.execute("PRAGMA query_only = ON")
            opened.execute("BEGIN")  # one state of the chain for all reads
            _check_kind(opened)
            yield ChainReader(opened)


@contextmanager
def writing(path: Path, timeout_s: float) -> Iterator[sqlite3.Connection]:
    """Open a chain for writing, made if need be: all of the block's changes are kept, or none.

    Only one process and thread at a time is inside; others wait up to `timeout_s` seconds.

    Raises:
        BackendUnavailableError: it cannot be written, or it is damaged, or others keep it busy.
    """
    with _translated(path):
        _create(path)
        with closing(sqlite3.connect(path, timeout=timeout_s, isolation_level=None)) as opened:
            opened.execute("PRAGMA synchronous = FULL")
            opened.execute("BEGIN IMMEDIATE")
            if opened.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
                opened.execute("CREATE TABLE chain (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
                opened.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            _check_kind(opened)
            yield opened  # an exception leaves by closing the connection, which undoes everything
            opened.execute("COMMIT")


def _create(path: Path) -> None:
    if path.is_symlink():
        raise BackendUnavailableError(f"the embedded chain {path} is a symbolic link", hint="put a real file there")
    make_folder(path.parent)
    try:
        # Others need not read what a run is called; SQLite gives its journal the mode of the file.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return


def _check_kind(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA application_id").fetchone()
    if found != (APPLICATION_ID,):
        raise DamagedStoreError("it is not a chain of this project")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Raise `BackendUnavailableError` for whatever is wrong with the file: it says nothing about any anchor."""
    try:
        yield
    except sqlite3.Error as error:
        busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY  # low byte: the primary code
        raise BackendUnavailableError(f"the embedded chain {path}: {error}", retryable=busy) from error
    except OSError as error:
        raise BackendUnavailableError(f"the embedded chain {path}: {error.strerror or error}") from error
    except StorageError as error:
        raise BackendUnavailableError(f"the embedded chain: {error.message}", hint=error.hint) from error
    except (DamagedStoreError, VerificationError) as error:
        raise BackendUnavailableError(
            f"the embedded chain {path} is damaged: {error}",
            hint="restore the file from a backup; what was anchored in it cannot be checked without it",
        ) from error
