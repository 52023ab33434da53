# SPDX-License-Identifier: MIT
"""Forged receipts that are right in all but one thing: both verifiers find it, and take them where it is right.

Whoever makes a log, a block or a chain of their own can make every hash in it fit. What then stands between them and a
VALID is how exactly each format is read, so each rule of each format is broken here once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from hashlib import sha256
from typing import Any

import pytest

from mrv_backends_btc.chains import CHAINS
from mrv_backends_eth.chain import EMBEDDED_CHAIN_ID, EMBEDDED_CONTRACT
from mrv_backends_eth.contract import CODE_HASHES

from .conftest import NODE_VERIFIER, Trust
from .forged_receipts import (
    OTS_BITCOIN,
    OTS_HEAD,
    REGTEST,
    bitcoin_receipt,
    calldata_receipt,
    coinbase,
    h,
    header_fields,
    ipfs_receipt,
    k,
    leaf_of,
    log_key,
    log_receipt,
    ots_receipt,
    payload,
    rlp,
    signed,
    transaction,
)
from .forging import Forgery, forge
from .mutations import sealed

VALUE = forge(Forgery())


@pytest.fixture(scope="module")
def value() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(VALUE)
    return parsed


def check(compare: Any, value: dict[str, Any], good: dict[str, Any], bad: dict[str, Any]) -> None:
    """Verify bundles with one receipt each, with everything that a verifier can give, and with nothing."""
    files, blocks = [], set()
    for name, receipt in (good | bad).items():
        block = receipt["evidence"].get("block_hash") if isinstance(receipt["evidence"], dict) else None
        blocks |= (
            {block.removeprefix("0x")} if isinstance(block, str) and len(block.removeprefix("0x")) == 64 else set()
        )
        files.append((name, sealed({**value, "receipts": {receipt["network"]: receipt}})))
    trust = Trust(blocks=tuple(sorted(blocks)), log_keys=(log_key(), log_key("x" * 200)))
    assert "VALID" not in compare(files, Trust()).values()
    verdicts = compare(files, trust)
    assert {name for name in good if verdicts[name] not in ("VALID", "UNREACHABLE", "PENDING")} == set()
    assert {name: verdicts[name] for name in bad if verdicts[name] != "TAMPERED"} == {}


def test_logs(value: dict[str, Any], compare: Any) -> None:
    root = value["root"]
    short = base64.b64encode(bytes(31)).decode()
    entry = f'{{"commitment":"{root}","format":"mrv-log-entry/1","metadata":{{}}}}'

    def text(old: str, new: str) -> Any:
        return log_receipt(root, change_text=lambda signed_text: signed_text.replace(old, new, 1))

    def note(old: str, new: str) -> Any:
        return log_receipt(root, change_note=lambda whole: whole.replace(old, new, 1))

    def proof(old: str, new: str) -> Any:
        return log_receipt(root, change_proof=lambda whole: whole.replace(old, new, 1))

    def signature(change: Any) -> Any:
        def changed(whole: str) -> str:
            head, _, encoded = whole.rpartition(" ")
            return f"{head} {base64.b64encode(change(base64.b64decode(encoded))).decode()}\n"

        return log_receipt(root, change_note=changed)

    second, third = bytes(32), b"\x01" + bytes(31)
    encoded = [base64.b64encode(each).decode() for each in (second, third)]
    good = {
        "honest": log_receipt(root),
        "long name": log_receipt(root, name="x" * 200),
        "another alphabet": log_receipt(root, name="exämple.org/лог"),
        "two entries": log_receipt(root, sibling=second),
    }
    good["metadata"] = log_receipt(root, entry=entry.replace("{}", '{"é":[1,null]}'))
    bad = {
        **{
            f"index {text!r}": proof("index 0", f"index {text}")
            for text in ("", "00", "+0", "-0", "0.0", "1", " 0", "٠", "0x0")
        },
        **{f"index {number}": proof("index 0", f"index {number}") for number in (2**63 - 1, 2**63, 2**64, 10**19)},
        **{
            f"size {new!r}": text("\n1\n", f"\n{new}\n")
            for new in ("0", "01", "2", "+1", "1.0", "١", "", str(2**63), "9" * 30)
        },
        "another sibling": log_receipt(root, sibling=second, change_proof=lambda whole: whole.replace(*encoded, 1)),
        "the other entry": log_receipt(
            root, sibling=second, change_proof=lambda whole: whole.replace("index 0", "index 1")
        ),
        "another root": log_receipt(root, change_text=lambda text: "\n".join([*text.split("\n")[:2], encoded[0], ""])),
        "another signature": signature(lambda data: data[:-1] + bytes([data[-1] ^ 1])),
        "another key": signature(lambda data: bytes([data[0] ^ 1]) + data[1:]),
        "a signature of 63 bytes": signature(lambda data: data[:-1]),
        "a signature of 65 bytes": signature(lambda data: data + b"\x00"),
        "a key id alone": signature(lambda data: data[:4]),
        "too long a name": log_receipt(root, name="x" * 33000),
        "control character in the name": log_receipt(root, name="example\x07.org"),
        "version": proof("@v1", "@v2"),
        "extra data": proof("index 0", "extra AAAA\nindex 0"),
        "no index": proof("index 0\n", ""),
        "one hash too many": proof("index 0\n", f"index 0\n{base64.b64encode(bytes(32)).decode()}\n"),
        "short hash": proof("index 0\n", f"index 0\n{short}\n"),
        "64 hashes": proof("index 0\n", "index 0\n" + f"{base64.b64encode(bytes(32)).decode()}\n" * 64),
        "carriage returns": log_receipt(root, change_proof=lambda whole: whole.replace("\n", "\r\n")),
        "no empty line": proof("\n\n", "\n"),
        "empty proof": proof("c2sp.org/tlog-proof@v1\nindex 0\n\n", ""),
        "nothing at all": log_receipt(root, change_proof=lambda _: ""),
        "extension line": log_receipt(root, change_text=lambda signed_text: signed_text + "more\n"),
        "no origin": text("example.org/log\n", "\n"),
        "other origin": text("example.org/log", "example.org/other"),
        "short root": log_receipt(
            root, change_text=lambda signed_text: "\n".join([*signed_text.split("\n")[:2], short, ""])
        ),
        "two lines": log_receipt(
            root, change_text=lambda signed_text: signed_text.rpartition("\n")[0].rpartition("\n")[0] + "\n"
        ),
        "no newline at the end": log_receipt(root, change_note=lambda whole: whole[:-1]),
        "newline at the end": log_receipt(root, change_note=lambda whole: whole + "\n"),
        "two signatures": log_receipt(root, change_note=lambda whole: whole + whole.rpartition("\n\n")[2]),
        "no signature": log_receipt(root, change_note=lambda whole: whole.rpartition("\n\n")[0] + "\n\n"),
        "hyphen": note("\u2014", "-"),
        "no dash": note("\u2014 ", ""),
        "two spaces": note("\u2014 example.org/log ", "\u2014 example.org/log  "),
        "other name": note("\u2014 example.org/log ", "\u2014 example.org/other "),
        "no name": note("\u2014 example.org/log ", "\u2014 "),
        "plus in the name": log_receipt(
            root, change_note=lambda whole: whole.replace("\u2014 example.org/log", "\u2014 example+org/log")
        ),
        **{
            f"space U+{ord(char):04X}": note("\u2014 example.org/log", f"\u2014 example{char}org/log")
            for char in "\x85\xa0\u2003\u3000\ufeff\u200b"
        },
        "control character": note("\n\n", "\x07\n\n"),
        "tab": note("\n\n", "\t\n\n"),
        "short signature": log_receipt(root, change_note=lambda whole: whole.rpartition(" ")[0] + " AAAAAAAA\n"),
        "signature not base64": log_receipt(root, change_note=lambda whole: whole.rpartition(" ")[0] + " !\n"),
        "too long a note": log_receipt(
            root, change_text=lambda signed_text: signed_text.replace("\n1\n", f"\n1{' ' * 70000}\n")
        ),
        **{
            f"entry: {name}": log_receipt(root, entry=text)
            for name, text in {
                "space": entry.replace(",", ", ", 1),
                "newline": entry + "\n",
                "key order": f'{{"format":"mrv-log-entry/1","commitment":"{root}","metadata":{{}}}}',
                "duplicate": entry.replace("{", f'{{"commitment":"{root}",', 1),
                "escape": entry.replace("commitment", "\\u0063ommitment", 1),
                "unknown key": entry.replace('"metadata":{}', '"metadata":{},"more":1'),
                "no metadata": entry.replace(',"metadata":{}', ""),
                "metadata null": entry.replace("{}", "null"),
                "metadata list": entry.replace("{}", "[]"),
                "format": entry.replace("entry/1", "entry/2"),
                "other commitment": entry.replace(root[-4:], "0000"),
                "other algorithm": entry.replace("sha256:", "blake3:"),
                "number": entry.replace("{}", '{"x":1.0}'),
                "too long": entry.replace("{}", '{"x":"' + "x" * 65536 + '"}'),
                "no JSON": entry[:-1],
                "empty": "",
            }.items()
        },
    }
    check(compare, value, good, bad)


def test_what_only_one_of_both_languages_takes_for_white_space_may_be_in_a_logs_name(
    value: dict[str, Any], compare: Any
) -> None:
    name = "example\ufeff.org"
    files = [("it", sealed({**value, "receipts": {"log": log_receipt(value["root"], name=name)}}))]
    assert compare(files, Trust(log_keys=(log_key(name),))) == {"it": "VALID"}


def test_ipfs_blocks(value: dict[str, Any], compare: Any) -> None:
    root = value["root"]
    block = f'{{"commitment":"{root}","format":"mrv-statement/1","metadata":{{}}}}'
    honest = ipfs_receipt(root)
    digest = base64.b32decode(honest["reference"][1:].upper() + "=" * (-len(honest["reference"][1:]) % 8))[4:]

    def cid(binary: bytes) -> Any:
        return ipfs_receipt(root, reference="f" + binary.hex())

    good = {
        "honest": honest,
        "embedded": ipfs_receipt(root, embedded=True),
        "base16": cid(b"\x01\x55\x12\x20" + digest),
    }
    bad = {
        "dag-pb": ipfs_receipt(root, codec=0x70),
        "dag-cbor": ipfs_receipt(root, codec=0x71),
        "version 0": ipfs_receipt(root, prefix=b"\x00"),
        "version 2": ipfs_receipt(root, prefix=b"\x02"),
        "long varint": cid(b"\x81\x00\x55\x12\x20" + digest),
        "endless varint": cid(b"\xff" * 40),
        "identity": cid(b"\x01\x55\x00\x20" + digest),
        "other function": cid(b"\x01\x55\x13\x20" + digest),
        "short digest": cid(b"\x01\x55\x12\x14" + digest[:20]),
        "wrong length": cid(b"\x01\x55\x12\x1f" + digest),
        "bytes behind": cid(b"\x01\x55\x12\x20" + digest + b"\x00"),
        "cut off": cid(b"\x01\x55\x12"),
        "nothing": cid(b""),
        "upper-case base16": ipfs_receipt(root, reference="f" + (b"\x01\x55\x12\x20" + digest).hex().upper()),
        "padding": ipfs_receipt(root, reference=honest["reference"] + "="),
        "unknown base": ipfs_receipt(root, reference="x" + honest["reference"][1:]),
        "invalid digit": ipfs_receipt(root, reference=honest["reference"][:-1] + "1"),
        "one character": ipfs_receipt(root, reference="b"),
        "no text": ipfs_receipt(root, reference=""),
        "too long": ipfs_receipt(root, reference="z" + "1" * 200),
        "not ASCII": ipfs_receipt(root, reference=honest["reference"] + "é"),
        "ones before base58": ipfs_receipt(root, reference="z1" + "2" * 40),
        "Qm of nothing": ipfs_receipt(root, reference="Qm"),
        "Qm with a zero": ipfs_receipt(root, reference="Qm0" + "1" * 43),
        "a block time": ipfs_receipt(root, block_time="2010-01-01T00:00:00Z"),
        "not final": ipfs_receipt(root, state="INCLUDED"),
        "another network": ipfs_receipt(root, network_id="ipns"),
        **{
            f"block: {name}": ipfs_receipt(root, block=text)
            for name, text in {
                "space": block.replace(",", ", ", 1),
                "format": block.replace("statement/1", "statement/2"),
                "other commitment": block.replace(root[-4:], "0000"),
                "unknown key": block.replace('"metadata":{}', '"metadata":{},"more":1'),
                "metadata list": block.replace("{}", "[]"),
                "too long": block.replace("{}", '{"x":"' + "x" * (1024 * 1024) + '"}'),
                "empty": "",
            }.items()
        },
    }
    check(compare, value, good, bad)


def test_bitcoin_blocks(value: dict[str, Any], compare: Any) -> None:
    root = value["root"]
    other = "sha256:" + "00" * 32
    made = transaction([b"\x51", payload(root)])
    first = coinbase(b"\x03\x00\x00\x10" + bytes(8))
    huge = transaction([b"\x51", payload(root)], script=bytes(500_000))
    sixty_four = transaction([b""], spent=bytes(32) + b"\xff" * 4, script=b"\x03\x00\x00\x10")
    assert len(sixty_four) == 64
    unknown = "bip122:" + "ab" * 16
    pair, stranger = h(h(first) + h(made)), bytes(32)
    four = {"merkle_branch": [h(first).hex(), pair.hex()], "coinbase_branch": [h(made).hex(), pair.hex()]}
    above = h(h(first) + stranger)

    def with_height(height: int, push: bytes) -> Any:
        return bitcoin_receipt(root, first=coinbase(push + bytes(8)), height=height)

    good = {
        "honest": bitcoin_receipt(root),
        "unknown chain": bitcoin_receipt(root, network_id=unknown),
        "the last two of four": bitcoin_receipt(root, root=h(pair + pair), **four),
        "height 1": with_height(1, b"\x51"),
        "height 16": with_height(16, b"\x60"),
        "height 17": with_height(17, b"\x01\x11"),
        "height 128": with_height(128, b"\x02\x80\x00"),
        "height 255": with_height(255, b"\x02\xff\x00"),
        "height 32768": with_height(32768, b"\x03\x00\x80\x00"),
    }
    bad = {
        "no work": bitcoin_receipt(root, works=False),
        "main": bitcoin_receipt(root, network_id="bip122:000000000019d6689c085ae165831e93"),
        "signet": bitcoin_receipt(root, network_id="bip122:00000008819873e925422c1ff0f99f7c"),
        "chain id": bitcoin_receipt(root, network_id=REGTEST[:-1]),
        "chain id in capitals": bitcoin_receipt(root, network_id=REGTEST.upper().replace("BIP", "bip")),
        "embedded": bitcoin_receipt(root) | {"embedded": True},
        "another height": bitcoin_receipt(root, height=0x100001),
        "height in another form": with_height(5, b"\x01\x05"),
        "height without its sign": with_height(128, b"\x01\x80"),
        "negative target": bitcoin_receipt(root, bits=0x20FFFFFF, network_id=unknown),
        "no target": bitcoin_receipt(root, bits=0x20000000, works=False, network_id=unknown),
        "endless target": bitcoin_receipt(root, bits=0x237FFFFF, network_id=unknown),
        "another tag": bitcoin_receipt(root, raw=transaction([b"\x51", payload(root).replace(b"MRV1", b"MRV2")])),
        "another push": bitcoin_receipt(root, raw=transaction([b"\x51", b"\x6a\x4c\x25" + payload(root)[2:]])),
        "script too long": bitcoin_receipt(root, raw=transaction([b"\x51", payload(root) + b"\x00"])),
        "another algorithm": bitcoin_receipt(root, raw=transaction([b"\x51", payload(root, 0x1E)])),
        "unknown algorithm": bitcoin_receipt(root, raw=transaction([b"\x51", payload(root, 0x13)])),
        "another commitment": bitcoin_receipt(root, raw=transaction([b"\x51", payload(other)])),
        "another output": bitcoin_receipt(root, output_index=0),
        "no such output": bitcoin_receipt(root, output_index=2),
        "another index": bitcoin_receipt(root, transaction_index=0),
        "an index outside": bitcoin_receipt(root, transaction_index=3),
        "a branch too short": bitcoin_receipt(root, merkle_branch=[]),
        "a branch of sixteen": bitcoin_receipt(root, merkle_branch=["00" * 32] * 16),
        "a coinbase branch too short": bitcoin_receipt(root, coinbase_branch=[]),
        "no coinbase": bitcoin_receipt(root, first=transaction([b"\x51"])),
        "the coinbase itself": bitcoin_receipt(
            root, raw=transaction([b"\x51", payload(root)], spent=bytes(32) + b"\xff" * 4)
        ),
        "witness": bitcoin_receipt(root, raw=transaction([b"\x51", payload(root)], head=b"\x00\x01")),
        "bytes behind": bitcoin_receipt(root, raw=made + b"\x00"),
        "cut off": bitcoin_receipt(root, raw=made[:-1]),
        "long length": bitcoin_receipt(root, raw=made[:4] + b"\xfd\x01\x00" + made[5:]),
        "huge length": bitcoin_receipt(root, raw=made[:4] + b"\xff" + b"\xff" * 8 + made[5:]),
        "no inputs": bitcoin_receipt(
            root,
            raw=b"\x02\x00\x00\x00\x00\x02" + bytes(8) + b"\x01\x51" + bytes(8) + b"\x27" + payload(root) + bytes(4),
        ),
        "sixty-four bytes": bitcoin_receipt(root, first=sixty_four),
        "too large": bitcoin_receipt(root, raw=huge),
        "no transaction": bitcoin_receipt(root, transaction=""),
        "header of 79": bitcoin_receipt(root, header="00" * 79),
        "another block hash": bitcoin_receipt(root, block_hash="00" * 32),
        "another time": bitcoin_receipt(root) | {"block_time": "2010-01-01T00:00:01Z"},
        "no time": bitcoin_receipt(root) | {"block_time": None},
        "another reference": bitcoin_receipt(root) | {"reference": "00" * 32},
        "negative height": bitcoin_receipt(root, height=-1),
        "no evidence, a time": bitcoin_receipt(root) | {"evidence": {}},
    }
    bad |= {
        "a pair beside itself": bitcoin_receipt(root, root=h(pair + pair), transaction_index=3, **four),
        "a branch of another length": bitcoin_receipt(
            root,
            root=h(above + h(made)),
            merkle_branch=[above.hex()],
            coinbase_branch=[stranger.hex(), h(made).hex()],
        ),
        "no evidence, no transaction id": bitcoin_receipt(root)
        | {"evidence": {}, "block_time": None, "state": "PENDING", "reference": "0x" + "00" * 32},
    }
    check(compare, value, good, bad)


def test_work_convinces_only_of_a_chain_that_never_cost_more(value: dict[str, Any], compare: Any) -> None:
    """A header that costs 2^10 hashes is made in a moment; it is no block of regtest, however little is asked for."""
    root = value["root"]
    given = {
        "regtest": bitcoin_receipt(root),
        "more than regtest": bitcoin_receipt(root, bits=0x1F3FFFFF),
        "unknown": bitcoin_receipt(root, network_id="bip122:" + "ab" * 16),
    }
    files = [(name, sealed({**value, "receipts": {"bitcoin": receipt}})) for name, receipt in given.items()]
    only = {"regtest": "VALID", "more than regtest": "UNREACHABLE", "unknown": "UNREACHABLE"}
    assert compare(files, Trust(min_work=1)) == only
    assert compare(files, Trust(min_work=2)) == dict.fromkeys(given, "UNREACHABLE")


def test_opentimestamps_proofs(value: dict[str, Any], compare: Any) -> None:
    root = value["root"]
    content = bytes.fromhex(root.partition(":")[2])
    start = OTS_HEAD + b"\x01\x08" + content
    pending = b"\x00" + bytes.fromhex("83dfe30d2ef90c8e")
    calendar = pending + b"\x06\x05a.b/c"
    block = OTS_BITCOIN + b"\x01\x05"

    def proof(rest: bytes, **evidence: Any) -> Any:
        return ots_receipt(root, proof=start + rest, **evidence)

    def whole(data: bytes) -> Any:
        return ots_receipt(root, proof=data)

    litecoin = bytes.fromhex("06869a0d73d71b45")
    sha1, ripemd160 = (hashlib.new(name, content).digest() for name in ("sha1", "ripemd160"))
    nothing = {"height": None, "block_hash": None, "header": None}
    unknown = b"\x00" + b"\x01" * 8 + b"\x02ab"
    good = {
        "honest": ots_receipt(root),
        "beside a calendar": proof(b"\xff" + calendar + b"\x08" + block),
        "beside an unknown kind": proof(b"\xff" + unknown + b"\x08" + block),
        "reversed twice": proof(b"\xf2\xf2\x08" + block),
        "a weak branch beside it": proof(b"\xff\x02\x08" + block + b"\x08" + block),
        "Litecoin beside it": proof(b"\xff\x00" + litecoin + b"\x01\x05" + b"\x08" + block),
        "Keccak-256 beside it": proof(b"\xff\x67" + block + b"\x08" + block),
    }
    bad = {
        "another magic": whole(b"\x01" + start[1:] + b"\x08" + block),
        "version 2": whole(OTS_HEAD + b"\x02\x08" + content + b"\x08" + block),
        "long version": whole(OTS_HEAD + b"\x81\x00\x08" + content + b"\x08" + block),
        "sha1": whole(OTS_HEAD + b"\x01\x02" + content[:20] + b"\x08" + block),
        "unknown hash": whole(OTS_HEAD + b"\x01\x09" + content + b"\x08" + block),
        "another file": whole(OTS_HEAD + b"\x01\x08" + bytes(32) + b"\x08" + block),
        "another root": proof(b"\x08\x08" + block),
        "another height": proof(b"\x08" + block, height=6),
        "twenty bytes": proof(b"\x02" + block),
        "Keccak-256": proof(b"\x67" + block),
        "too many weak operations": proof(
            b"\xf0\x80\x1f" + bytes(3968) + (b"\xff\x02" + calendar) * 17 + b"\x08" + block
        ),
        "payload behind Litecoin's": proof(b"\xff\x00" + litecoin + b"\x02\x05\x00" + b"\x08" + block),
        "unknown alone": proof(unknown),
        "unknown operation": proof(b"\x09" + block),
        "empty argument": proof(b"\xf0\x00\x08" + block),
        "huge argument": proof(b"\xf0\x81\x20" + bytes(4097) + b"\x08" + block),
        "huge message": proof((b"\xf0\x80\x20" + bytes(4096)) * 2 + b"\x08" + block),
        "256 operations": proof(b"\x08" * 257 + block),
        "bytes behind": proof(b"\x08" + block + b"\x00"),
        "cut off": proof(b"\x08" + block[:-1]),
        "payload behind": proof(b"\x08" + OTS_BITCOIN + b"\x02\x05\x00"),
        "long height": proof(b"\x08" + OTS_BITCOIN + b"\x02\x85\x00"),
        "huge height": proof(b"\x08" + OTS_BITCOIN + b"\x05\xff\xff\xff\xff\x1f"),
        "address": proof(b"\xff" + pending + b"\x03\x02a?" + b"\x08" + block),
        "message of 31": proof(b"\xf3\xf3" + block),
        "fork without end": proof(b"\xff" * 300),
        "1001 attestations": proof((b"\xff" + calendar) * 1001 + b"\x08" + block),
        "too large": whole(start + (b"\xff" + unknown[:9] + b"\xf4\x03" + bytes(500)) * 140 + b"\x08" + block),
        "header alone": proof(b"\x08" + block, height=None),
        "height alone": proof(b"\x08" + block, header=None),
        "no block hash": proof(b"\x08" + block, block_hash=None),
        "nothing but a time": ots_receipt(root, **nothing) | {"block_time": "2010-01-01T00:00:00Z"},
        "another reference": ots_receipt(root) | {"reference": "ots:" + "00" * 32},
        "no ots": ots_receipt(root, ots=""),
        "odd ots": ots_receipt(root, ots="0"),
    }
    check(compare, value, good, bad)
    files = {"calendar": proof(calendar, **nothing), "claim": ots_receipt(root, **nothing)}
    receipts = [(name, sealed({**value, "receipts": {"bitcoin": receipt}})) for name, receipt in files.items()]
    assert compare(receipts, Trust()) == {"calendar": "PENDING", "claim": "PENDING"}
    weak = {
        "by SHA-1": ots_receipt(root, proof=start + b"\x02\x08" + block, root=sha256(sha1).digest()),
        "by RIPEMD-160": ots_receipt(root, proof=start + b"\x03\x08" + block, root=sha256(ripemd160).digest()),
    }
    receipts = [(name, sealed({**value, "receipts": {"bitcoin": receipt}})) for name, receipt in weak.items()]
    blocks = tuple(receipt["evidence"]["block_hash"] for receipt in weak.values())
    assert compare(receipts, Trust(blocks=blocks)) == dict.fromkeys(weak, "UNREACHABLE")


def test_ethereum_blocks(value: dict[str, Any], compare: Any) -> None:
    root = value["root"]
    made = signed(root)
    other = "sha256:" + "00" * 32
    unsigned_v = signed(root, kind=None)
    leaf = leaf_of(made)
    branch_node = rlp([*[b""] * 8, k(rlp([b"\x30", made])), *[b""] * 8])
    inner = rlp([k(rlp([b"\x20", made])), *[b""] * 16])
    extension = rlp([b"\x18", k(inner)])

    def raw(data: bytes) -> Any:
        return calldata_receipt(root, raw=data)

    def nodes(*given: bytes, top: bytes | None = None) -> Any:
        return calldata_receipt(root, nodes=given, root=top)

    def header(change: Any) -> Any:
        return calldata_receipt(root, header=change)

    def with_evidence(**changes: Any) -> Any:
        receipt = calldata_receipt(root)
        return receipt | {"evidence": receipt["evidence"] | changes}

    def fields_changed(index: int, item: Any) -> Any:
        return header(lambda fields: rlp([*fields[:index], item, *fields[index + 1 :]]))

    good = {
        "honest": calldata_receipt(root),
        "EIP-155": calldata_receipt(root, raw=signed(root, kind=None)),
        "EIP-2930": calldata_receipt(root, raw=signed(root, kind=1)),
        "a base fee": header(lambda fields: rlp([*fields, b"\x07"])),
        "fields of later forks": header(lambda fields: rlp([*fields, b"", bytes(32), b"", b"", bytes(32)])),
        "below a branch": nodes(branch_node, rlp([b"\x30", made])),
        "below an extension": nodes(extension, inner, rlp([b"\x20", made])),
    }
    bad = {
        "another chain": calldata_receipt(root) | {"network_id": "eip155:1"},
        "a chain with a zero": calldata_receipt(root) | {"network_id": "eip155:031337"},
        "no chain": calldata_receipt(root, raw=signed(root, kind=None, chain_id=None)),
        "another commitment": calldata_receipt(root, raw=signed(other)),
        "another tag": raw(signed(root, data=b"MRV2" + bytes.fromhex(root[7:]))),
        "data too long": raw(signed(root, data=b"MRV1" + bytes.fromhex(root[7:]) + b"\x00")),
        "another receiver": raw(signed(root, to="0x" + "11" * 20)),
        "no receiver": raw(signed(root, to="")),
        "another signature": raw(made[:-1] + bytes([made[-1] ^ 1])),
        "type 5": raw(b"\x05" + made[1:]),
        "type 0": raw(b"\x00" + unsigned_v),
        "an empty transaction": raw(b""),
        "bytes behind a transaction": raw(made + b"\x00"),
        "a field too few": raw(b"\x02" + rlp([b""] * 11)),
        "fields that are no numbers": raw(b"\x02" + rlp([b"\x00"] * 12)),
        "superfluous node": nodes(leaf, leaf),
        "no node": calldata_receipt(root, nodes=[leaf], transaction_proof=[]),
        "another root": nodes(leaf, top=bytes(32)),
        "empty trie": nodes(leaf, top=k(b"\x80")),
        "another key": nodes(leaf_of(made, path=b"\x20\x81")),
        "key too short": nodes(leaf_of(made, path=b"\x38")),
        "padding": nodes(leaf_of(made, path=b"\x21\x80")),
        "flag": nodes(leaf_of(made, path=b"\x40\x80")),
        "no path": nodes(leaf_of(made, path=b"")),
        "extension without path": nodes(rlp([b"\x00", k(inner)]), inner, rlp([b"\x20", made])),
        "extension of another path": nodes(rlp([b"\x19", k(inner)]), inner),
        "three items": nodes(rlp([b"\x20\x80", made, b""])),
        "eighteen items": nodes(rlp([b""] * 18)),
        "empty value": nodes(leaf_of(b"")),
        "value is a list": nodes(rlp([b"\x20\x80", [made]])),
        "path is a list": nodes(rlp([[b"\x20\x80"], made])),
        "empty branch": nodes(rlp([b""] * 17)),
        "short reference": nodes(rlp([*[b""] * 8, b"\x01\x02", *[b""] * 8])),
        "node is text": nodes(rlp(b"text")),
        "bytes behind a node": nodes(leaf + b"\x00"),
        "long length": nodes(b"\xf9\x00" + bytes([leaf[1]]) + leaf[2:]),
        "length with a zero": nodes(b"\xf9\x00" + leaf[1:]),
        "length beyond": nodes(leaf[:-1]),
        "single byte with a length": header(
            lambda fields: rlp(fields).replace(b"\x05\x01\x80", b"\x81\x05\x01\x80", 1)
        ),
        "header is text": header(lambda fields: rlp(b"header")),
        "fourteen fields": header(lambda fields: rlp(fields[:14])),
        "bytes behind a header": header(lambda fields: rlp(fields) + b"\x00"),
        "cut off header": header(lambda fields: rlp(fields)[:-1]),
        "nested too deep": fields_changed(0, nested(9)),
        "number with a zero": fields_changed(8, b"\x00\x05"),
        "number of 33 bytes": fields_changed(8, b"\x01" * 33),
        "number is a list": fields_changed(8, [b"\x05"]),
        "root of 31 bytes": fields_changed(5, bytes(31)),
        "year 10000": fields_changed(11, (253_402_300_800).to_bytes(5, "big")),
        "base fee with a zero": header(lambda fields: rlp([*fields, b"\x00\x07"])),
        "another number": calldata_receipt(root, block_number=6),
        "another block hash": calldata_receipt(root, block_hash="0x" + "00" * 32),
        "block hash without 0x": calldata_receipt(root, block_hash=k(rlp(header_fields(k(leaf)))).hex()),
        "capitals": with_evidence(header="0x" + rlp(header_fields(k(leaf))).hex().upper()),
        "another index": calldata_receipt(root, transaction_index=1),
        "65 nodes": calldata_receipt(root, nodes=[leaf] * 65),
        "another time": calldata_receipt(root) | {"block_time": "2010-01-01T00:00:01Z"},
        "embedded": calldata_receipt(root) | {"embedded": True},
        "the embedded chain": calldata_receipt(root) | {"network_id": "eip155:131277322940537"},
        "another format": calldata_receipt(root, format="mrv-evidence-ethereum/1"),
        "unknown format": calldata_receipt(root, format="mrv-evidence-ethereum-logs/1"),
        "reference in capitals": calldata_receipt(root) | {"reference": "0x" + k(made).hex().upper()},
        "final without evidence": calldata_receipt(root) | {"evidence": {}, "block_time": None},
    }
    check(compare, value, good, bad)


def test_ethereum_transactions_that_wait(value: dict[str, Any], compare: Any) -> None:
    root = value["root"]
    bare = bytes.fromhex(root[7:])

    def call(
        text: bytes = b"", *, content: bytes = bare, offset: int = 64, size: int | None = None, more: bytes = b""
    ) -> Any:
        words = content + offset.to_bytes(32, "big") + (len(text) if size is None else size).to_bytes(32, "big")
        data = k(b"storeHash(bytes32,string)")[:4] + words + text + bytes(-len(text) % 32) + more
        return signed(root, data=data, to="0x" + "11" * 20)

    def waiting(raw: bytes, **changes: Any) -> Any:
        evidence = {"format": "mrv-evidence-ethereum-pending/1", "transaction": f"0x{raw.hex()}"}
        waits = {"evidence": evidence, "reference": f"0x{k(raw).hex()}", "state": "PENDING", "block_time": None}
        return calldata_receipt(root) | waits | changes

    made = signed(root)
    fees: list[Any] = [(31337).to_bytes(2, "big"), b"", b"", b"", b"", bytes(20), b"", b"MRV1" + bare]
    endless = b"\x02" + rlp([*fees, [b""] * 200_000, b"", b"\x01", b"\x01"])
    good = {
        "calldata": waiting(made),
        "a list of more items than a function takes arguments": waiting(endless),
        "a call": waiting(call()),
        "a call with metadata": waiting(call(b'{"run_id":"run-1"}')),
        "a call with text that is none": waiting(call(b"\xff" * 40)),
        "a call with a colon": waiting(call(b"sha256:{}")),
        "nothing but its name": waiting(made, evidence={}),
    }
    bad = {
        "another algorithm": waiting(call(b"blake3:{}")),
        "another root": waiting(call(content=bytes(32))),
        "another offset": waiting(call(offset=96)),
        "a text cut off": waiting(call(b"abc", size=33)),
        "an endless text": waiting(call(b"abc", size=2**255)),
        "words behind": waiting(call(more=bytes(32))),
        "another function": waiting(signed(root, data=b"\x00" * 132)),
        "no data": waiting(signed(root, data=b"")),
        "another chain": waiting(signed(root, chain_id=1)),
        "no chain": waiting(signed(root, kind=None, chain_id=None)),
        "another reference": waiting(made, reference="0x" + "00" * 32),
        "a block time": waiting(made, block_time="2010-01-01T00:00:00Z"),
        "final": waiting(made, state="FINAL"),
        "embedded": waiting(made, embedded=True),
        "no transaction": waiting(b""),
        "another field": waiting(made, evidence={**waiting(made)["evidence"], "more": 1}),
    }
    check(compare, value, good, bad)


def nested(depth: int) -> Any:
    item: Any = []
    for _ in range(depth):
        item = [item]
    return item


def test_both_verifiers_know_the_same_chains_and_contracts() -> None:
    """What no forgery can reach, because it would cost too much to make, is compared as it is written."""
    source = NODE_VERIFIER.read_text()
    chains = {
        match[1]: (match[2], int(match[3], 16), int(match[4]), int(match[5]))
        for match in re.finditer(
            r'\["(bip122:\w+)", \{ name: "(\w+)", easiest: (0x\w+), floor: (\d+)n, ceiling: (\d+)n \}\]', source
        )
    }
    assert chains == {
        chain.network_id: (chain.name, chain.easiest_bits, chain.min_work, chain.max_work) for chain in CHAINS.values()
    }
    hashes = re.search(r"const CODE_HASHES = new Set\(\[(.*?)\]\)", source, re.DOTALL)
    assert hashes is not None
    assert set(re.findall(r"[0-9a-f]{64}", hashes[1])) == {code_hash.hex() for code_hash in CODE_HASHES}
    assert f'EMBEDDED_CONTRACT = "{EMBEDDED_CONTRACT.hex()}"' in source
    assert f'EMBEDDED_ID = "eip155:{EMBEDDED_CHAIN_ID}"' in source
