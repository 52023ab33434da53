# SPDX-License-Identifier: MIT
"""CAR files: read back with independent libraries, and imported by a real IPFS node."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import dag_cbor
import multiformats
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrv_backends_ipfs.car import car_bytes
from mrv_backends_ipfs.cid import Cid
from mrv_backends_ipfs.driver import IpfsDriver
from mrv_backends_ipfs.store import BlockStore
from mrv_core.errors import AnchorNotFoundError, BackendUnavailableError, VerificationError
from mrv_core.hashing import HashFactory
from mrv_devnet.nodes import IpfsNode

Blocks = list[tuple[multiformats.CID, bytes]]


def read_car(data: bytes) -> tuple[list[multiformats.CID], Blocks]:
    """Read a CARv1 with `dag-cbor` and `multiformats` only; CIDs are checked against their blocks."""
    sections: list[bytes] = []
    while data:
        size, _, rest = multiformats.varint.decode_raw(data)
        assert len(rest) >= size
        sections.append(bytes(rest[:size]))
        data = bytes(rest[size:])
    header: Any = dag_cbor.decode(sections[0])
    assert header.keys() == {"version", "roots"}
    assert header["version"] == 1
    assert dag_cbor.encode(header) == sections[0]
    blocks = [_read_section(section) for section in sections[1:]]
    return header["roots"], blocks


def _read_section(section: bytes) -> tuple[multiformats.CID, bytes]:
    size = 34 if section.startswith(b"\x12\x20") else 36  # CIDv0 is a bare multihash
    cid = multiformats.CID.decode(section[:size])
    assert cid.digest == b"\x12\x20" + sha256(section[size:]).digest()
    return cid, section[size:]


def test_the_reader_of_these_tests_reads_the_public_archives(vectors: Callable[[str], Path]) -> None:
    archives = sorted(vectors("ipfs-car").glob("*.car"))
    assert len(archives) > 5
    for path in archives:
        roots, blocks = read_car(path.read_bytes())
        assert {bytes(root) for root in roots} & {bytes(cid) for cid, _ in blocks}


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=30, unique=True))
def test_archives_read_back_with_every_block_a_root(blocks: list[bytes]) -> None:
    roots, sections = read_car(car_bytes({Cid.of(block): block for block in blocks}))
    assert [block for _, block in sections] == blocks
    assert [bytes(cid) for cid, _ in sections] == [Cid.of(block).to_bytes() for block in blocks]
    assert roots == [cid for cid, _ in sections]


@pytest.mark.parametrize("count", [1, 23, 24, 255, 256, 1000])
def test_headers_of_every_length_read_back(count: int) -> None:
    blocks = {Cid(0x55, number.to_bytes(32, "big")): b"" for number in range(count)}
    data = car_bytes(blocks)
    size, _, rest = multiformats.varint.decode_raw(data)
    header: Any = dag_cbor.decode(bytes(rest[:size]))
    assert [bytes(root) for root in header["roots"]] == [cid.to_bytes() for cid in blocks]


def test_the_header_of_a_very_long_archive_has_a_four_byte_count() -> None:
    data = car_bytes({Cid(0x55, number.to_bytes(32, "big")): b"" for number in range(70_000)})
    _, _, header = multiformats.varint.decode_raw(data)
    assert bytes(header[:12]) == b"\xa2\x65roots\x9a" + (70_000).to_bytes(4, "big")


def anchor(driver: IpfsDriver, count: int) -> list[Cid]:
    receipts = [
        driver.submit(driver.prepare(HashFactory.digest(bytes([number]), "sha256"), {"run_id": "run-1", "n": number}))
        for number in range(count)
    ]
    return [Cid.parse(receipt.reference) for receipt in receipts]


def test_each_anchor_has_an_archive_of_its_own(driver: IpfsDriver, store_dir: Path) -> None:
    (cid,) = anchor(driver, 1)
    roots, blocks = read_car((store_dir / "cars" / f"{cid}.car").read_bytes())
    assert [bytes(root) for root in roots] == [cid.to_bytes()]
    assert [block for _, block in blocks] == [(store_dir / "blocks" / str(cid)).read_bytes()]


def test_all_anchors_export_into_one_archive(driver: IpfsDriver, store_dir: Path, tmp_path: Path) -> None:
    cids = anchor(driver, 5)
    (store_dir / "blocks" / "README").write_text("not a block")
    assert BlockStore(store_dir).export_car(tmp_path / "all.car") == 5
    roots, blocks = read_car((tmp_path / "all.car").read_bytes())
    anchored = sorted(cid.to_bytes() for cid in cids)
    assert sorted(bytes(root) for root in roots) == sorted(bytes(cid) for cid, _ in blocks) == anchored


def test_a_damaged_block_is_never_exported(driver: IpfsDriver, store_dir: Path, tmp_path: Path) -> None:
    cid, *_ = anchor(driver, 3)
    (store_dir / "blocks" / str(cid)).write_bytes(b"{}")
    with pytest.raises(VerificationError, match=str(cid)):
        BlockStore(store_dir).export_car(tmp_path / "all.car")
    assert not (tmp_path / "all.car").exists()


def test_nothing_to_export_is_said(driver: IpfsDriver, store_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailableError, match="not there"):
        BlockStore(store_dir).export_car(tmp_path / "all.car")
    (cid,) = anchor(driver, 1)
    (store_dir / "blocks" / str(cid)).unlink()
    with pytest.raises(AnchorNotFoundError):
        BlockStore(store_dir).export_car(tmp_path / "all.car")


@pytest.mark.node
def test_a_real_node_imports_pins_and_returns_our_blocks(
    make_driver: Callable[..., IpfsDriver], store_dir: Path, ipfs_daemon: IpfsNode, tmp_path: Path
) -> None:
    cids = anchor(make_driver(), 3)
    store = BlockStore(store_dir)
    store.export_car(tmp_path / "all.car")
    single = make_driver(tmp_path / "second")
    (alone,) = anchor(single, 1)
    for path in (tmp_path / "all.car", tmp_path / "second" / "cars" / f"{alone}.car"):
        reply = ipfs_daemon.call("dag/import", body=path.read_bytes())
        imported = {Cid.parse(json.loads(line)["Root"]["Cid"]["/"]) for line in reply.splitlines() if b"Root" in line}
        assert imported == (set(cids) if path.name == "all.car" else {alone})
    ipfs_daemon.call("repo/gc")
    pins = json.loads(ipfs_daemon.call("pin/ls", type="recursive"))["Keys"]
    pinned = {Cid.parse(text) for text in pins}
    for cid in cids:
        block = ipfs_daemon.call("block/get", str(cid))
        assert block == store.get(cid)
        assert Cid.of(block) == cid
        assert cid in pinned


@pytest.mark.node
def test_a_real_node_computes_the_same_cid(driver: IpfsDriver, ipfs_daemon: IpfsNode) -> None:
    prepared = driver.prepare(HashFactory.digest(b"", "blake3"), {"phase": "before_training"})
    block = bytes.fromhex(prepared.payload_hex)
    reply = ipfs_daemon.call("block/put", body=block, format="raw", cid_codec="raw", mhtype="sha2-256", version="1")
    assert Cid.parse(json.loads(reply)["Key"]) == Cid.parse(prepared.reference)
