# SPDX-License-Identifier: MIT
"""Signed notes, keys, checkpoints and proofs as text: others' read, ours exact, anything else refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrv_backends_log.checkpoint import Checkpoint, TlogProof
from mrv_backends_log.evidence import open_checkpoint
from mrv_backends_log.note import NoteSignature, SignedNote, SigningKey, VerifierKey
from mrv_core.errors import FormatError, VerificationError
from mrv_core.merkle import leaf_hash, verify_inclusion

# The example in the documentation of Go's golang.org/x/mod/sumdb/note, which defined the format.
GO_PRIVATE = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_PUBLIC = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_SIGNATURE = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
GO_NOTE = f"{GO_TEXT}\n— PeterNeumann {GO_SIGNATURE}\n"
# The key that `go` trusts for its checksum database, and the example checkpoint of c2sp.org/tlog-checkpoint.
SUMDB_KEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
C2SP_CHECKPOINT = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+"
    "zyWE+xeMcTOAYQ8=\n"
)

KEY = SigningKey("log.example/one", bytes(range(32)))
OTHER_KEY = SigningKey("log.example/one", bytes(range(1, 33)))
CHECKPOINT = Checkpoint("log.example/one", 12, sha256(b"root").digest())


def test_go_reads_and_writes_the_same_notes() -> None:
    assert SigningKey.parse(GO_PRIVATE).sign(GO_TEXT) == GO_NOTE
    assert str(SigningKey.parse(GO_PRIVATE).verifier) == GO_PUBLIC
    assert SigningKey.parse(GO_PRIVATE).to_text() == GO_PRIVATE
    assert VerifierKey.parse(GO_PUBLIC).open(SignedNote.parse(GO_NOTE)) == GO_TEXT


def test_a_key_in_use_elsewhere_is_read() -> None:
    key = VerifierKey.parse(SUMDB_KEY)
    assert (key.name, key.key_id.hex(), str(key)) == ("sum.golang.org", "033de0ae", SUMDB_KEY)


def test_the_specifications_checkpoint_is_read() -> None:
    note = SignedNote.parse(C2SP_CHECKPOINT)
    checkpoint = Checkpoint.parse(note.text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.to_text() == note.text
    assert [line.name for line in note.signatures] == [checkpoint.origin]


def rekor_entries(vectors: Callable[[str], Path]) -> list[dict[str, Any]]:
    bundles = [json.loads(path.read_bytes()) for path in sorted(vectors("rekor-bundles").glob("*.sigstore"))]
    return [entry for bundle in bundles for entry in bundle["verificationMaterial"].get("tlogEntries", [])]


def test_checkpoints_and_inclusion_proofs_of_a_public_log_hold(vectors: Callable[[str], Path]) -> None:
    entries = rekor_entries(vectors)
    assert len(entries) >= 4
    for entry in entries:
        proof = entry["inclusionProof"]
        note = SignedNote.parse(proof["checkpoint"]["envelope"])
        checkpoint = Checkpoint.parse(note.text)
        assert (checkpoint.size, checkpoint.root) == (int(proof["treeSize"]), base64.b64decode(proof["rootHash"]))
        path = [base64.b64decode(value) for value in proof["hashes"]]
        leaf = leaf_hash(base64.b64decode(entry["canonicalizedBody"]))
        verify_inclusion(leaf, int(proof["logIndex"]), checkpoint.size, path, checkpoint.root)
        text = TlogProof(int(proof["logIndex"]), tuple(path), proof["checkpoint"]["envelope"]).to_text()
        assert TlogProof.parse(text).to_text() == text
        with pytest.raises(VerificationError, match="not signed by"):
            KEY.verifier.open(note)  # signed by another key, with another algorithm


def test_signatures_are_judged_as_wycheproof_says(vectors: Callable[[str], Path]) -> None:
    groups = json.loads(vectors("wycheproof/ed25519_test.json").read_bytes())["testGroups"]
    judged = {"valid": 0, "invalid": 0}
    for group in groups:
        key = VerifierKey("wycheproof", bytes.fromhex(group["publicKey"]["pk"]))
        for case in group["tests"]:
            try:
                text = bytes.fromhex(case["msg"]).decode("utf-8")
            except UnicodeDecodeError:
                continue  # a note's text is UTF-8
            line = NoteSignature(key.name, key.key_id, bytes.fromhex(case["sig"]))
            judged[case["result"]] += 1
            if case["result"] == "valid":
                assert key.open(SignedNote(text, (line,))) == text
            else:
                with pytest.raises(VerificationError):
                    key.open(SignedNote(text, (line,)))
    assert min(judged.values()) > 20


def test_other_signatures_are_passed_over_but_a_broken_one_of_ours_never() -> None:
    note = KEY.sign("text\n")
    stranger = SigningKey("witness.example", bytes(32)).sign("text\n").split("\n\n")[1]
    namesake = OTHER_KEY.sign("text\n").split("\n\n")[1]
    assert KEY.verifier.open(SignedNote.parse(note + stranger + namesake)) == "text\n"
    broken = KEY.sign("another text\n").split("\n\n")[1]
    with pytest.raises(VerificationError, match="does not hold"):
        KEY.verifier.open(SignedNote.parse(note + broken))
    with pytest.raises(VerificationError, match="not signed by"):
        KEY.verifier.open(SignedNote.parse("text\n\n" + stranger + namesake))


def test_text_with_empty_lines_ends_at_the_last_one() -> None:
    text = "one\n\ntwo — three\n\n— not a signature, but text\n"
    assert KEY.verifier.open(SignedNote.parse(KEY.sign(text))) == text


@given(st.data())
def test_every_flipped_byte_of_a_note_is_refused(data: st.DataObject) -> None:
    note = bytearray(KEY.sign(CHECKPOINT.to_text()).encode())
    note[data.draw(st.integers(0, len(note) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((FormatError, VerificationError, UnicodeDecodeError)):
        open_checkpoint(bytes(note).decode("utf-8"), KEY.verifier)


SIGNED = KEY.sign(CHECKPOINT.to_text())
LINE = SIGNED.split("\n\n")[1]


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n\n",
        "text\n",
        "text\n\n",
        "\n\n" + LINE,
        SIGNED[:-1],
        SIGNED + "\n",
        SIGNED + "more",
        SIGNED.replace("\n", "\r\n"),
        SIGNED.replace("— ", "- "),
        SIGNED.replace("— ", "—"),
        SIGNED.replace("— log", "—  log"),
        SIGNED.replace("=\n", "\n"),
        SIGNED[:-2] + " \n",
        "te\0xt\n\n" + LINE,
        "te\txt\n\n" + LINE,
        "te\ud800xt\n\n" + LINE,
        "text\n\n— a+b " + LINE.split(" ")[2],
        "text\n\n— name AAAA\n",
        "text\n\n— name AAAAAA==\n",
        "text\n\n— name !!!!!!!!\n",
        "x" * 70_000 + "\n\n" + LINE,
    ],
)
def test_malformed_notes_are_refused(note: str) -> None:
    with pytest.raises(FormatError):
        SignedNote.parse(note)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000",
        GO_PUBLIC + "\n",
        GO_PUBLIC.replace("c74f20a3", "c74f20a4"),
        GO_PUBLIC.replace("c74f20a3", "C74F20A3"),
        GO_PUBLIC.replace("Peter", "Peter "),
        GO_PUBLIC.replace("ARpc", "BBpc"),
        GO_PUBLIC[:-4],
        GO_PUBLIC[:-1] + "X",
        GO_PUBLIC.replace("PeterNeumann", "\ud800"),
        GO_PRIVATE,
    ],
)
def test_malformed_verifier_keys_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        VerifierKey.parse(text)


@pytest.mark.parametrize("text", ["", GO_PUBLIC, GO_PRIVATE[:-4], GO_PRIVATE.replace("c74f20a3", "00000000")])
def test_malformed_signing_keys_are_refused_without_showing_them(text: str) -> None:
    with pytest.raises(FormatError) as caught:
        SigningKey.parse(text)
    assert "AYEKFALVFGyNhPJE" not in str(caught.value)


def test_the_secret_is_not_in_the_representation_of_its_key() -> None:
    assert "AYEKFALVFGyNhPJE" not in repr(SigningKey.parse(GO_PRIVATE))
    assert repr(SigningKey.parse(GO_PRIVATE)) == "SigningKey(name='PeterNeumann')"


ROOT_LINE = base64.b64encode(CHECKPOINT.root).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "origin\n1\n",
        f"origin\n1\n{ROOT_LINE}",
        f"\n1\n{ROOT_LINE}\n",
        f"origin\n01\n{ROOT_LINE}\n",
        f"origin\n-1\n{ROOT_LINE}\n",
        f"origin\n+1\n{ROOT_LINE}\n",
        f"origin\n 1\n{ROOT_LINE}\n",
        f"origin\n1e3\n{ROOT_LINE}\n",
        f"origin\n١\n{ROOT_LINE}\n",
        f"origin\n9223372036854775808\n{ROOT_LINE}\n",
        f"origin\n{'9' * 5000}\n{ROOT_LINE}\n",
        f"origin\n1\n{ROOT_LINE[:-1]}\n",
        f"origin\n1\n{ROOT_LINE[:-4]}\n",
        f"origin\n1\n{ROOT_LINE}\n\n",
        f"origin\n1\n{ROOT_LINE}\n\nextension\n",
    ],
)
def test_malformed_checkpoints_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        Checkpoint.parse(text)


@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_checkpoints_round_trip(size: int, root: bytes) -> None:
    checkpoint = Checkpoint("log.example/one", size, root)
    assert Checkpoint.parse(checkpoint.to_text()) == checkpoint
    assert open_checkpoint(KEY.sign(checkpoint.to_text()), KEY.verifier) == checkpoint


def test_our_checkpoints_hold_nothing_else() -> None:
    extended = KEY.sign(CHECKPOINT.to_text() + "Timestamp: 1682468469199678948\n")
    assert Checkpoint.parse(SignedNote.parse(extended).text) == CHECKPOINT
    cosigned = SIGNED + SigningKey("witness.example", bytes(32)).sign("x\n").split("\n\n")[1]
    foreign = SigningKey("log.example/two", KEY.seed)
    renamed = KEY.sign(Checkpoint("log.example/two", 12, CHECKPOINT.root).to_text())
    for note in (extended, cosigned, foreign.sign(CHECKPOINT.to_text()), renamed):
        with pytest.raises(VerificationError):
            open_checkpoint(note, KEY.verifier)


@given(st.integers(0, 2**63 - 1), st.lists(st.binary(min_size=32, max_size=32), max_size=63))
def test_proofs_round_trip(index: int, path: list[bytes]) -> None:
    proof = TlogProof(index, tuple(path), SIGNED)
    assert TlogProof.parse(proof.to_text()) == proof


PROOF = TlogProof(5, (bytes(32), bytes(32)), SIGNED).to_text()


@pytest.mark.parametrize(
    "text",
    [
        "",
        PROOF.replace("@v1", "@v2"),
        PROOF.replace("index", "extra AAAA\nindex"),
        PROOF.replace("index 5", "index 05"),
        PROOF.replace("index 5", "index 5 "),
        PROOF.replace("index 5", "index"),
        PROOF.replace("AAA=\n", "AAB=\n", 1),
        PROOF.replace("\n\n", "\n", 1).replace("\n\n", "\n", 1),
        TlogProof(5, (bytes(32),) * 64, SIGNED).to_text(),
        TlogProof(5, (bytes(31),), SIGNED).to_text(),
    ],
)
def test_malformed_proofs_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        TlogProof.parse(text)
