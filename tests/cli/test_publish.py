# SPDX-License-Identifier: MIT
"""`mrv publish` and `mrv fetch`: the tree of a run in an offline block store, one fact of it back, and forgeries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from programs import configure

pytestmark = pytest.mark.usefixtures("published_on_ipfs")


@pytest.fixture
def published_on_ipfs(mrv, workplace):
    configure(workplace, ipfs={"url": "embedded"}, alpha={"driver": "memory"})
    mrv("anchor", "dataset", "--name", "snap")


@pytest.fixture
def made(mrv):
    return mrv("publish", "artifacts/snap", "--json").json


def test_a_fact_comes_back_with_its_proof(mrv, made):
    out = mrv("fetch", made["cid"], "data/training/a.csv", "--root", made["root"], "-o", "proof.json", "--json").json
    assert out["proof"]["path"] == "data/training/a.csv"
    assert (out["root"], out["root_given"], out["value"]) == (made["root"], True, None)
    assert mrv("prove", "--check", "proof.json", "--root", made["root"], "--json").json["verdict"] == "VALID"
    assert made["blocks"] > 3


def test_values_are_published_only_when_asked(mrv, made):
    leaf = "training/environment"
    assert mrv("fetch", made["cid"], leaf, "--json").json["value"] is None
    with_values = mrv("publish", "artifacts/snap", "--values", "--json").json
    value = mrv("fetch", with_values["cid"], leaf, "--json").json["value"]
    assert value == next(
        row["value"] for row in json.loads(Path("artifacts/snap/tree.json").read_bytes())["rows"] if row["path"] == leaf
    )
    assert with_values["cid"] != made["cid"]
    assert with_values["root"] == made["root"]


def test_another_root_is_refused(mrv, made):
    mrv("fetch", made["cid"], "data/training", "--root", f"sha256:{'1' * 64}", expect=1)


def test_without_a_root_the_claim_is_named_as_such(mrv, made):
    assert "the tree's own claim" in mrv("fetch", made["cid"], "data/training").err


def test_what_is_not_there_is_not_found_and_what_is_no_name_is_usage(mrv, made):
    mrv("fetch", "bafyreib6lmiczemdyiv4nxqu6q5y2wd7h3fcemcxajlhxtqsyfyoov4cvu", "data/training", expect=5)
    mrv("fetch", "nonsense", "data/training", expect=2)
    mrv("fetch", made["cid"], "data/nothing", expect=2)
    mrv("publish", "artifacts/snap", "--network", "alpha", expect=2)
    mrv("publish", "artifacts/snap", "--anchor", "007-snapshot", expect=2)


def test_a_run_that_was_changed_is_not_published(mrv):
    tree = Path("artifacts/snap/tree.json")
    tree.write_bytes(tree.read_bytes().replace(b'"a.csv"', b'"c.csv"'))
    if b"c.csv" not in tree.read_bytes():
        tree.write_bytes(tree.read_bytes().replace(b"a.csv", b"c.csv"))
    mrv("publish", "artifacts/snap", expect=1)
