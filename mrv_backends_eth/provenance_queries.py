# SPDX-License-Identifier: MIT
"""The MLProvenance contract, which keeps commitments by submitter and root. See `ContractQueries`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mrv_backends_eth import contract as mlprovenance
from mrv_backends_eth.contract import Submission
from mrv_backends_eth.contract_queries import ContractQueries, Event, Statement
from mrv_backends_eth.state_evidence import ProvenRecord, StateEvidence, verify_state_evidence
from mrv_core.errors import VerificationError
from mrv_core.hashing import Digest
from mrv_core.models import Metadata

if TYPE_CHECKING:
    from mrv_backends_eth.writing import Writer


class ProvenanceQueries(ContractQueries):
    """MLProvenance: `storeHash(root, metadata)`."""

    contract = "MLProvenance"
    setting = "contract_address"
    code_hashes = mlprovenance.CODE_HASHES
    repeats_silently = False
    instead = 'set "mode": "calldata" for this network'

    def statement(self, commitment: Digest, metadata: Metadata) -> Statement:
        """Return commitment and label. See `ContractQueries`."""
        return Statement(commitment, mlprovenance.label(commitment, metadata))

    def payload(self, writer: Writer, statement: Statement) -> bytes:
        """Return a call of `storeHash`. See `ContractQueries`."""
        return writer.store_hash(statement.commitment.value, statement.text)

    def read_call(self, data: bytes) -> Statement | None:
        """Read a call of `storeHash`. See `ContractQueries`."""
        called = mlprovenance.decode_store_hash(data)
        return None if called is None else Statement(mlprovenance.commitment_of(*called), called[1])

    def read_event(self, topics: Sequence[bytes], data: bytes) -> Event | None:
        """Read a `HashSubmitted`. See `ContractQueries`."""
        if list(topics[:1]) != [mlprovenance.HASH_SUBMITTED]:
            return None
        try:
            event = mlprovenance.decode_event(topics, data)
        except VerificationError:
            return None
        return Event(event.submitter, Statement(event.commitment, event.label))

    def facts(self, statement: Statement) -> dict[str, Any]:
        """Return the metadata. See `ContractQueries`."""
        return {"metadata": statement.text}

    def topics(self, submitter: bytes, statement: Statement) -> list[bytes]:
        """Return event, root and submitter. See `ContractQueries`."""
        return [mlprovenance.HASH_SUBMITTED, statement.commitment.value, submitter.rjust(32, b"\0")]

    def record_slots(self, submitter: bytes, statement: Statement) -> list[bytes]:
        """Return the one word of a record. See `ContractQueries`."""
        return [mlprovenance.submission_slot(submitter, statement.commitment.value)]

    def decode_record(self, words: Sequence[int], statement: Statement, submitter: bytes) -> Submission | None:
        """Read it. See `ContractQueries`."""
        record = mlprovenance.decode_submission(words[0])
        return record if record.timestamp else None

    def proof_slots(self, submitter: bytes, statement: Statement) -> list[bytes]:
        """Return the record's word. See `ContractQueries`."""
        return self.record_slots(submitter, statement)

    def make_evidence(self, common: Mapping[str, Any], statement: Statement, proofs: Sequence[Any]) -> StateEvidence:
        """See `ContractQueries`."""
        return StateEvidence(**common, storage_proof=proofs[0])

    def prove(self, evidence: Mapping[str, Any], commitment: Digest) -> ProvenRecord:
        """See `ContractQueries`."""
        return verify_state_evidence(StateEvidence.read(evidence), commitment.value)
