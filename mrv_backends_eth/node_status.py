# SPDX-License-Identifier: MIT
"""One line on how a node, its chain, the contract and the account are, and whether anchoring could be tried."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import chain
from typing import Any, Final

from mrv_backends_eth import values
from mrv_backends_eth.chains import CHAIN_IDS, currency, name_of
from mrv_backends_eth.fees import coins
from mrv_backends_eth.finality import Finality
from mrv_backends_eth.form import Form
from mrv_backends_eth.hexadecimal import to_hex
from mrv_backends_eth.keys import Wallet
from mrv_backends_eth.node import Call, Node
from mrv_core.errors import ConfigurationError, MrvError
from mrv_core.transport import RpcError

_STALE_S: Final = 3600
"""A public chain whose newest block is older has stopped, or the node has."""
_LIBRARIES: Final = ("web3", "eth_account")


def describe(node: Node, wallet: Wallet, forms: Sequence[Form], finality: Callable[[], Finality]) -> tuple[bool, str]:
    """Return whether anchoring could be tried now, and one line for people.

    Raises:
        MrvError: the node cannot be asked, or is on another chain.
    """
    address = wallet.address()
    problems = [f"needs {name}: pip install 'mrv-provenance[eth]'" for name in _LIBRARIES if find_spec(name) is None]
    usability: list[tuple[Form, list[Call]]] = []
    for form in forms:
        try:
            usability.append((form, form.usability_calls(with_proof=True)))
        except ConfigurationError as error:  # of one form; which chain this is can be told all the same
            problems.append(error.message)
    balance: list[Call] = [] if address is None else [("eth_getBalance", [to_hex(address), "latest"])]
    tips = finality()
    answers = node.ask(
        ("eth_syncing", ()),
        ("net_peerCount", ()),
        *balance,
        *chain.from_iterable(calls for _, calls in usability),
        *tips.calls,
    )
    head = tips.read(node, answers[-len(tips.calls) :]).head.header
    chain_id = node.chain_id()
    facts = [f"chain {name_of(chain_id)} at block {head.number}"]
    if answers[0] not in (False, None) and not isinstance(answers[0], RpcError):
        problems.append("the node is not in sync yet")
    if chain_id in CHAIN_IDS.values() and time.time() - head.timestamp > _STALE_S:
        problems.append(f"its newest block is {round(time.time() - head.timestamp) // 60} minutes old")
    if not isinstance(answers[1], RpcError):
        facts.append(f"{node.number(answers[1], 'peers')} peers")
    if address is None:
        problems.append("no key: it can verify, not anchor")
    else:
        _describe_account(node, address, node.number(answers[2], "balance"), facts, problems)
    start = 2 + len(balance)
    for form, calls in usability:
        _describe_form(node, form, answers[start : start + len(calls)], facts, problems)
        start += len(calls)
    return not problems, "; ".join([*problems, *facts])


def _describe_account(node: Node, address: bytes, wei: int, facts: list[str], problems: list[str]) -> None:
    place = values.address_text(address)
    (facts if wei else problems).append(f"{place} holds {coins(wei)} {currency(node.chain_id())}")


def _describe_form(node: Node, form: Form, answers: list[Any], facts: list[str], problems: list[str]) -> None:
    try:
        form.check_usability(node, answers)
    except MrvError as error:
        problems.append(error.message)
    else:
        if answers:
            facts.append(f"{form.name} is there")
