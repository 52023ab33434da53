# SPDX-License-Identifier: MIT
"""Deploying a contract: the one step that waits by itself, since nothing of it is journaled and a person looks on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from mrv_backends_eth import rlp, values
from mrv_backends_eth.contract import artifact
from mrv_backends_eth.contract_queries import ContractQueries
from mrv_backends_eth.hexadecimal import to_hex
from mrv_backends_eth.keccak import keccak256
from mrv_backends_eth.node import Node, SeenReceipt
from mrv_backends_eth.signing import Signing
from mrv_core.deadline import seconds_left
from mrv_core.driver import Deployment
from mrv_core.errors import BackendError, BackendUnavailableError, ConfigurationError, VerificationError
from mrv_core.transport import TransportError

_MOST_GAS: Final = 5_000_000
_MOST_WAIT_S: Final = 300.0
_POLL_S: Final = 0.5


def deploy(
    name: str,
    node: Node,
    signing: Signing,
    provenance: ContractQueries,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Deployment:
    """Deploy a contract of this project, wait until it is in a block, and check the code that is there.

    Args:
        name: Name of the contract.
        node: Where.
        signing: Signs the transaction.
        provenance: MLProvenance, which other contracts refer to.
        sleep: Called with seconds between two looks.
        clock: Monotonic seconds.

    Raises:
        ConfigurationError: no such contract, no key, or another chain than the configured one.
        BackendError: it could not be deployed.
        VerificationError: something else than the contract was deployed.
    """
    compiled = artifact(name)
    arguments = _arguments(compiled, provenance)
    data = signing.writer.creation(compiled, [values.address_text(argument) for argument in arguments])
    signed, sender, nonce = signing.creation(data, _MOST_GAS)
    address = keccak256(rlp.encode([sender, rlp.int_bytes(nonce)]))[12:]
    failure = _send(node, signed.raw)
    ends = clock() + min(_MOST_WAIT_S, seconds_left())
    while (receipt := _receipt(node, signed.hash)) is None:
        if failure is not None and not _is_known(node, signed.hash):
            raise failure
        if clock() >= ends:
            raise _unfinished(name, address, signed.hash)
        sleep(_POLL_S)
    _check_code(node, name, address, receipt, _expected_code(compiled, arguments))
    return Deployment(
        contract=name,
        address=values.address_text(address),
        chain_id=node.chain_id(),
        code_hash=to_hex(keccak256(_expected_code(compiled, arguments))),
        transaction=to_hex(signed.hash),
        block_number=receipt.block_number,
    )


def _arguments(compiled: dict[str, Any], provenance: ContractQueries) -> list[bytes]:
    """Return what the constructor takes: nothing, or the address of MLProvenance."""
    constructors = [entry for entry in compiled["abi"] if entry["type"] == "constructor"]
    kinds = [parameter["internalType"] for entry in constructors for parameter in entry["inputs"]]
    if set(kinds) - {"contract IMLProvenance"}:
        raise ConfigurationError(f"the constructor of {compiled['contractName']} takes {', '.join(kinds)}")
    return [provenance.address for _ in kinds]


def _expected_code(compiled: dict[str, Any], arguments: list[bytes]) -> bytes:
    """Return the code that the constructor leaves, which writes its argument into it where the compiler left zeros."""
    code = bytearray.fromhex(compiled["deployedBytecode"].removeprefix("0x"))
    for offset in compiled.get("immutableOffsets", []):
        code[offset : offset + 32] = arguments[0].rjust(32, b"\0")
    return bytes(code)


def _send(node: Node, raw: bytes) -> BackendError | None:
    """Send; what came back decides nothing unless the transaction stays unknown."""
    try:
        node.send(raw)
    except BackendError as error:
        if isinstance(error, TransportError) and not error.maybe_delivered:
            raise
        return error
    return None


def _receipt(node: Node, transaction_hash: bytes) -> SeenReceipt | None:
    (answer,) = node.ask(("eth_getTransactionReceipt", [to_hex(transaction_hash)]))
    return node.receipt(answer, transaction_hash)


def _is_known(node: Node, transaction_hash: bytes) -> bool:
    (answer,) = node.ask(("eth_getTransactionByHash", [to_hex(transaction_hash)]))
    return node.transaction(answer, transaction_hash) is not None


def _unfinished(name: str, address: bytes, transaction_hash: bytes) -> BackendUnavailableError:
    return BackendUnavailableError(
        f"{name} is on its way in transaction {to_hex(transaction_hash)}, which is in no block yet",
        hint=f"do not deploy again: once it is in a block, the contract is at {values.address_text(address)}",
    )


def _check_code(node: Node, name: str, address: bytes, receipt: SeenReceipt, expected: bytes) -> None:
    (code,) = node.ask(("eth_getCode", [to_hex(address), hex(receipt.block_number)]))
    if not receipt.succeeded or receipt.contract != address:
        raise BackendUnavailableError(
            f"the deployment of {name} failed in block {receipt.block_number}",
            hint="see the transaction in an explorer",
        )
    if node.data(code, "code") != expected:
        raise VerificationError(f"the code at {values.address_text(address)} is not that of {name}")
