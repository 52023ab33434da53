# SPDX-License-Identifier: MIT
"""A node that lies, one lie at a time, in front of a real one: the lie is refused, or changes nothing that is said."""

from __future__ import annotations

import copy
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from web3 import Web3
from web3.exceptions import OffchainLookup

from mrv_backends_eth.contract import artifact
from mrv_backends_eth.driver import EthereumDriver
from mrv_backends_eth.trie_build import ListTrie
from mrv_core.errors import (
    AnchorConflictError,
    AnchorNotFoundError,
    BackendError,
    ConfigurationError,
    MrvError,
    VerificationError,
)
from mrv_core.hashing import HashFactory
from mrv_core.models import NO_METADATA, Prepared, Receipt, ReceiptState, VerifiedAnchor

COMMITMENT = HashFactory.digest(b"a run", "sha256")
NEIGHBOUR = HashFactory.digest(b"another run", "sha256")
REFUSALS = (VerificationError, AnchorNotFoundError, AnchorConflictError, BackendError, ConfigurationError)
OTHER_HASH, OTHER_ADDRESS = "0x" + "ab" * 32, "0x" + "ab" * 20


def setting(method: str, *path: Any, to: Any) -> Callable[[str, list[Any], Any], Any]:
    """Return a lie that sets one field in the results of a method; a function gets the honest value."""

    def lie(asked: str, parameters: list[Any], result: Any) -> Any:
        if asked != method or result is None:
            return result
        changed = place = copy.deepcopy(result)
        try:
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = to(place[path[-1]]) if callable(to) else to
        except (KeyError, IndexError, TypeError):
            return result
        return changed

    return lie


def returning(method: str, value: Any) -> Callable[[str, list[Any], Any], Any]:
    return lambda asked, parameters, result: value if asked == method else result


def plus_one(quantity: str) -> str:
    return hex(int(quantity, 16) + 1)


def flipped(data: str) -> str:
    return data[:-1] + ("0" if data[-1] != "0" else "1")


TRANSACTION, RECEIPT, BLOCK = "eth_getTransactionByHash", "eth_getTransactionReceipt", "eth_getBlockByNumber"
LIES: dict[str, Callable[[str, list[Any], Any], Any]] = {
    "another chain id": returning("eth_chainId", "0x1"),
    "no chain id": returning("eth_chainId", None),
    "chain id of another type": returning("eth_chainId", 31337),
    "no transaction": returning(TRANSACTION, None),
    "a text for a transaction": returning(TRANSACTION, "no"),
    "a list for a transaction": returning(TRANSACTION, []),
    "another input": setting(TRANSACTION, "input", to=lambda data: data.replace("a", "b")),
    "another receiver": setting(TRANSACTION, "to", to=OTHER_ADDRESS),
    "another nonce": setting(TRANSACTION, "nonce", to=plus_one),
    "another chain in the transaction": setting(TRANSACTION, "chainId", to="0x1"),
    "another signature": setting(TRANSACTION, "r", to=OTHER_HASH),
    "another hash": setting(TRANSACTION, "hash", to=OTHER_HASH),
    "another type": setting(TRANSACTION, "type", to="0x1"),
    "an unknown type": setting(TRANSACTION, "type", to="0x7e"),
    "another block of the transaction": setting(TRANSACTION, "blockHash", to=OTHER_HASH),
    "another block number of the transaction": setting(TRANSACTION, "blockNumber", to=plus_one),
    "an index beyond the block": setting(TRANSACTION, "transactionIndex", to="0x1f"),
    "pending although included": setting(TRANSACTION, "blockHash", to=None),
    "no receipt": returning(RECEIPT, None),
    "failed": setting(RECEIPT, "status", to="0x0"),
    "a status of another type": setting(RECEIPT, "status", to=True),
    "another block of the receipt": setting(RECEIPT, "blockHash", to=OTHER_HASH),
    "the receipt of another transaction": setting(RECEIPT, "transactionHash", to=OTHER_HASH),
    "no logs": setting(RECEIPT, "logs", to=[]),
    "logs of another contract": setting(RECEIPT, "logs", 1, "address", to=OTHER_ADDRESS),
    "logs of another event": setting(RECEIPT, "logs", 1, "topics", 0, to=OTHER_HASH),
    "logs of another root": setting(RECEIPT, "logs", 1, "topics", 1, to=OTHER_HASH),
    "logs of another submitter": setting(RECEIPT, "logs", 1, "topics", 2, to="0x" + "00" * 12 + "ab" * 20),
    "logs that were removed": setting(RECEIPT, "logs", 1, "removed", to=True),
    "logs that are no objects": setting(RECEIPT, "logs", to=[None, 1, "x"]),
    "no block": returning(BLOCK, None),
    "a block of another time": setting(BLOCK, "timestamp", to=plus_one),
    "a block of another number": setting(BLOCK, "number", to=plus_one),
    "a block with another hash": setting(BLOCK, "hash", to=OTHER_HASH),
    "a block with another state": setting(BLOCK, "stateRoot", to=OTHER_HASH),
    "a block with other transactions": setting(BLOCK, "transactionsRoot", to=OTHER_HASH),
    "a block without a state": setting(BLOCK, "stateRoot", to=None),
    "a block with fewer fields": setting(BLOCK, "requestsHash", to=None),
    "transactions that are none": setting(BLOCK, "transactions", to=lambda _: [None]),
    "a block without its transactions": setting(BLOCK, "transactions", to=lambda _: []),
    "no list of transactions": setting(BLOCK, "transactions", to=None),
    "no proof": returning("eth_getProof", None),
    "a proof of nothing": returning("eth_getProof", {}),
    "an account proof with another byte": setting("eth_getProof", "accountProof", 0, to=flipped),
    "an account proof cut short": setting("eth_getProof", "accountProof", to=lambda nodes: nodes[:-1]),
    "a storage proof with another byte": setting("eth_getProof", "storageProof", 0, "proof", 0, to=flipped),
    "a storage proof cut short": setting("eth_getProof", "storageProof", 0, "proof", to=lambda nodes: nodes[:-1]),
    "a hundred storage nodes": setting("eth_getProof", "storageProof", 0, "proof", to=lambda nodes: nodes * 100),
    "no storage proof": setting("eth_getProof", "storageProof", to=[]),
}
UNUSED_IN_CONTRACT_MODE = {
    "an index beyond the block",
    "transactions that are none",
    "a block without its transactions",
}
UNUSED_IN_CALLDATA_MODE = {
    *(name for name in LIES if name.startswith(("logs ", "a storage ", "an account "))),
    *("no receipt", "failed", "another block of the receipt", "no logs"),
    *("no proof", "a proof of nothing", "a hundred storage nodes", "no storage proof"),
}
"""Lies about what is not asked for; they need not be noticed."""
HARMLESS: dict[str, Callable[[str, list[Any], Any], Any]] = {
    "another sender": setting(TRANSACTION, "from", to=OTHER_ADDRESS),
    "another value of the record": setting("eth_getProof", "storageProof", 0, "value", to="0x1"),
    "another code hash": setting("eth_getProof", "codeHash", to=OTHER_HASH),
    "another size of the block": setting(BLOCK, "size", to="0x0"),
    "another time in a log": setting(RECEIPT, "logs", 1, "blockTimestamp", to="0x1"),
}
"""Fields that nothing is read from: whatever they say, what is said stays the same."""


class Case:
    """An anchor on an honest node, with a neighbour in its block, and drivers that see it through a proxy."""

    def __init__(self, chain: Any, proxy: Any, mode: str) -> None:
        self.chain, self.proxy = chain, proxy
        honest = chain.driver(mode=mode, finality=2)
        self.driver: EthereumDriver = chain.driver(mode=mode, finality=2, rpc_url=proxy.url)
        self.prepared: Prepared = honest.prepare(COMMITMENT, NO_METADATA)
        self.pending: Receipt = honest.submit(self.prepared)
        honest.submit(honest.prepare(NEIGHBOUR, NO_METADATA))
        chain.mine(2)
        self.receipt: Receipt = honest.upgrade(self.pending)
        self.verdict: VerifiedAnchor = honest.verify(self.receipt, COMMITMENT)

    def answers(self) -> Iterator[Receipt | VerifiedAnchor | MrvError]:
        """Ask everything that can be asked about the anchor."""
        calls: tuple[Callable[[], Receipt | VerifiedAnchor], ...] = (
            lambda: self.driver.verify(self.receipt, COMMITMENT),
            lambda: self.driver.verify(self.pending, COMMITMENT),
            lambda: self.driver.upgrade(self.receipt),
            lambda: self.driver.upgrade(self.pending),
            lambda: self.driver.lookup(self.receipt.reference),
            lambda: self.driver.submit(self.prepared),
        )
        for call in calls:
            try:
                yield call()
            except REFUSALS as error:
                yield error

    def is_honest(self, answer: Receipt | VerifiedAnchor | MrvError) -> bool:
        """Tell whether an answer says nothing but what an honest node's answers led to, or that it waits."""
        if isinstance(answer, MrvError) or answer.state is ReceiptState.PENDING:
            return True
        if isinstance(answer, VerifiedAnchor):
            return answer.model_copy(update={"trusts": self.verdict.trusts}) == self.verdict
        return answer.model_copy(update={"submitted_at": self.receipt.submitted_at}) == self.receipt


@pytest.fixture(params=["contract", "calldata"])
def case(chain: Any, new_proxy: Callable[[str], Any], request: pytest.FixtureRequest) -> Case:
    return Case(chain, new_proxy(chain.url), request.param)


def test_no_lie_is_passed_on(case: Case) -> None:
    """Each lie is told in every answer it fits; what comes out is what an honest node says, or no verdict."""
    harmful: dict[str, int] = {}
    for name, lie in LIES.items():
        case.proxy.alter = lie
        answers = list(case.answers())
        assert all(case.is_honest(answer) for answer in answers), name
        harmful[name] = sum(isinstance(answer, MrvError) for answer in answers)
    case.proxy.alter = lambda method, parameters, result: result
    assert not any(isinstance(answer, MrvError) for answer in case.answers()), "the honest node is believed"
    unnoticed = {name for name, count in harmful.items() if not count}
    if case.receipt.evidence["format"] == "mrv-evidence-ethereum-state/1":
        assert unnoticed == UNUSED_IN_CONTRACT_MODE
    else:
        assert unnoticed - {"pending although included"} <= UNUSED_IN_CALLDATA_MODE


CONTRADICTIONS = (
    *("no receipt", "another block of the receipt", "the receipt of another transaction"),
    *("another block of the transaction", "another block number of the transaction"),
)


def test_a_node_that_contradicts_itself_says_nothing_against_the_anchor(
    chain: Any, new_proxy: Callable[[str], Any]
) -> None:
    """As many nodes behind one address do, or one amid a reorganisation: not checked is not tampered with."""
    case = Case(chain, new_proxy(chain.url), "contract")
    for name in CONTRADICTIONS:
        case.proxy.alter = LIES[name]
        with pytest.raises(BackendError) as failure:
            case.driver.verify(case.receipt, COMMITMENT)
        assert failure.value.retryable, name


def test_the_block_leaves_the_chain_between_two_answers(chain: Any, new_proxy: Callable[[str], Any]) -> None:
    """The block of the evidence was just shown; the next answers know its successor at the same height."""
    case = Case(chain, new_proxy(chain.url), "contract")
    old = chain.rpc(BLOCK, hex(case.receipt.evidence["block_number"]), False)
    chain.rpc("anvil_rollback", 2)
    chain.rpc("evm_increaseTime", 100)
    chain.driver().submit(case.prepared)
    chain.mine()
    asked = []

    def lie(method: str, parameters: list[Any], result: Any) -> Any:
        if method == BLOCK and parameters[0] == old["number"]:
            asked.append(method)
            return old if len(asked) == 1 else chain.rpc(BLOCK, *parameters)
        return result

    case.proxy.alter = lie
    with pytest.raises(BackendError, match="is not in its chain"):
        case.driver.verify(case.receipt, COMMITMENT)


def test_fields_that_prove_nothing_are_not_read(case: Case) -> None:
    for name, lie in HARMLESS.items():
        case.proxy.alter = lie
        for answer in case.answers():
            assert not isinstance(answer, MrvError), (name, answer)
            assert case.is_honest(answer), name


def test_a_failed_transaction_is_not_made_to_look_like_an_anchor(chain: Any, new_proxy: Callable[[str], Any]) -> None:
    """It ran out of gas; the node says that it succeeded, and shows the logs and the proof that it would have made."""
    honest = chain.driver()
    neighbour = honest.submit(honest.prepare(NEIGHBOUR, NO_METADATA))
    data = Web3().eth.contract(abi=artifact()["abi"]).encode_abi("storeHash", [COMMITMENT.value, ""])
    chain.mine()
    failed = chain.send_as(chain.key, to=chain.contract, data=data, gas=30_000)
    chain.mine()
    assert chain.rpc("eth_getTransactionReceipt", failed)["status"] == "0x0"
    model = chain.rpc("eth_getTransactionReceipt", neighbour.reference)
    logs = json.loads(json.dumps(model["logs"]).replace(NEIGHBOUR.value.hex(), COMMITMENT.value.hex()))
    key = chain.rpc("eth_getProof", chain.contract, [], "latest")
    proxy = new_proxy(chain.url)

    def lie(method: str, parameters: list[Any], result: Any) -> Any:
        if method == "eth_getTransactionReceipt":
            return {**result, "status": "0x1", "logs": logs}
        if method == "eth_getProof":
            return {**key, "storageProof": honest_proof}
        return result

    slot = "0x" + "00" * 32
    honest_proof = chain.rpc("eth_getProof", chain.contract, [slot], "latest")["storageProof"]
    proxy.alter = lie
    with pytest.raises(BackendError, match="does not hold together"):
        chain.driver(rpc_url=proxy.url).lookup(failed)


def test_a_block_with_a_transaction_too_many_is_not_believed(chain: Any, new_proxy: Callable[[str], Any]) -> None:
    """In calldata mode: a transaction of ours that never was in the block, put where another one is."""
    driver = chain.driver(mode="calldata")
    included = driver.submit(driver.prepare(NEIGHBOUR, NO_METADATA))
    chain.mine()
    waiting = driver.submit(driver.prepare(COMMITMENT, NO_METADATA))
    block = chain.rpc("eth_getBlockByNumber", "latest", True)
    ours = chain.rpc("eth_getTransactionByHash", waiting.reference)
    place = {key: block["transactions"][0][key] for key in ("blockHash", "blockNumber", "transactionIndex")}
    proxy = new_proxy(chain.url)

    def lie(method: str, parameters: list[Any], result: Any) -> Any:
        if method == "eth_getTransactionByHash" and parameters[0] == waiting.reference:
            return {**ours, **place}
        if method == "eth_getBlockByNumber" and parameters[1]:
            return {**result, "transactions": [{**ours, **place}]}
        return result

    proxy.alter = lie
    with pytest.raises(BackendError, match="are not those of its header"):
        chain.driver(mode="calldata", rpc_url=proxy.url).lookup(waiting.reference)
    assert driver.upgrade(included).state is ReceiptState.FINAL
    assert ListTrie.build([]).root.hex() != block["transactionsRoot"][2:]


def test_a_wrong_json_rpc_id_is_refused(chain: Any, new_proxy: Callable[[str], Any]) -> None:
    proxy = new_proxy(chain.url)
    driver = chain.driver(rpc_url=proxy.url)
    honest = proxy.answer

    def answer(target: str, body: bytes) -> bytes:
        replies = json.loads(honest(target, body))
        for reply in replies if isinstance(replies, list) else [replies]:
            reply["id"] += 1
        return json.dumps(replies).encode()

    proxy.answer = answer
    with pytest.raises(BackendError, match="no JSON-RPC answer to the question"):
        driver.prepare(COMMITMENT, NO_METADATA)


def test_two_hundred_thousand_brackets_do_not_end_the_process(chain: Any, new_proxy: Callable[[str], Any]) -> None:
    """With web3 loaded, whose import raises the recursion limit."""
    chain.driver().prepare(COMMITMENT, NO_METADATA)
    proxy = new_proxy(chain.url)
    proxy.answer = lambda target, body: b"[" * 200_000
    with pytest.raises(BackendError):
        chain.driver(rpc_url=proxy.url).prepare(COMMITMENT, NO_METADATA)


def test_a_redirect_is_not_followed(chain: Any, new_proxy: Callable[[str], Any]) -> None:
    """The signed transaction is not handed to whom the node points at (A30)."""
    elsewhere, proxy = new_proxy(chain.url), new_proxy(chain.url)
    prepared = chain.driver().prepare(COMMITMENT, NO_METADATA)
    proxy.redirect = elsewhere.url
    driver = chain.driver(rpc_url=proxy.url)
    for call in (
        lambda: driver.submit(prepared),
        lambda: driver.prepare(COMMITMENT, NO_METADATA),
        driver.deploy_contract,
    ):
        with pytest.raises(BackendError, match="redirects elsewhere"):
            call()
    assert driver.status().ready is False
    assert elsewhere.asked == []
    assert proxy.bodies


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """A web server on this machine that writes down who asks it for something."""
    hits: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hits.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"data": "0x"}')

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", hits
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_contract_cannot_make_us_fetch_a_url(chain: Any, listener: tuple[str, list[str]]) -> None:
    """The contract at the configured address answers every call with `OffchainLookup` (EIP-3668) to this machine."""
    url, hits = listener
    address = "0x" + "44" * 20
    arguments = Web3().codec.encode(
        ["address", "string[]", "bytes", "bytes4", "bytes"], [address, [url + "/{sender}/{data}"], b"x", b"abcd", b"y"]
    )
    data = Web3.keccak(text="OffchainLookup(address,string[],bytes,bytes4,bytes)")[:4] + arguments
    # PUSH2 size, DUP1, PUSH1 13, PUSH1 0, CODECOPY, PUSH1 0, REVERT: with what stands behind these 13 bytes.
    program = bytes.fromhex(f"61{len(data):04x}80600d60003960" + "00fd00")
    assert len(program) == 13
    chain.rpc("anvil_setCode", address, "0x" + (program + data).hex())
    driver = chain.driver(contract_address=address)
    writer = driver._chain._signing.writer
    provenance = writer.web3.eth.contract(address=Web3.to_checksum_address(address), abi=writer._provenance.abi)
    with pytest.raises(OffchainLookup):
        provenance.functions.verifyHash(COMMITMENT.value).call()
    calls = (lambda: driver.prepare(COMMITMENT, NO_METADATA), lambda: driver.lookup("0x" + "11" * 32), driver.status)
    for call in calls:
        try:
            call()
        except REFUSALS:
            continue
    assert hits == []
