# SPDX-License-Identifier: MIT
"""Anchors on an Ethereum node in the usual way: build a transaction, sign it, send it, wait for its receipt."""

import secrets
from pathlib import Path
from typing import Any

from protocol import serve
from web3 import Web3

_state: dict[str, Any] = {}


def prepare(rpc_url: str, key_file: str, address: str, abi: list[dict[str, Any]]) -> None:
    """Connect to the node and the contract, and anchor once."""
    _state["web3"] = Web3(Web3.HTTPProvider(rpc_url))
    _state["account"] = _state["web3"].eth.account.from_key(Path(key_file).read_text().strip())
    _state["contract"] = _state["web3"].eth.contract(address=Web3.to_checksum_address(address), abi=abi)
    anchor(1)


def anchor(count: int) -> list[str]:
    """Anchor new commitments one by one; return the transactions."""
    web3, account, contract = _state["web3"], _state["account"], _state["contract"]
    facts = '{"format":"mrv-run/1","phase":"after_training","run_id":"run-20260111T080000Z-1a2b3c4d"}'
    references = []
    for _ in range(count):
        nonce = web3.eth.get_transaction_count(account.address)
        call = contract.functions.storeHash(secrets.token_bytes(32), facts)
        transaction = call.build_transaction({"from": account.address, "nonce": nonce})
        sent = web3.eth.send_raw_transaction(account.sign_transaction(transaction).raw_transaction)
        receipt = web3.eth.wait_for_transaction_receipt(sent)
        if receipt["status"] != 1:
            raise RuntimeError("the transaction failed")
        references.append(sent.to_0x_hex())
    return references


serve({"prepare": prepare, "anchor": anchor})
