// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {BatchVerifier} from "../BatchVerifier.sol";
import {IBatchVerifier} from "../IBatchVerifier.sol";
import {IMLProvenance} from "../IMLProvenance.sol";
import {MLProvenance} from "../MLProvenance.sol";
import {RFC9162} from "../RFC9162.sol";
import {Reference} from "./Reference.sol";
import {Test} from "./Test.sol";

contract BatchVerifierTest is Test {
    /// One member's proof, whole or spoilt.
    struct Proof {
        bytes32 member;
        uint64 index;
        uint64 size;
        bytes32[] path;
    }

    uint64 private constant LARGEST = 2 ** 63 - 1;

    MLProvenance private provenance;
    BatchVerifier private verifier;

    function setUp() public {
        provenance = new MLProvenance();
        verifier = BatchVerifier(_deploy("BatchVerifier", abi.encode(provenance)));
        _wait(1_700_000_000);
    }

    function test_SmallSizesAgreeWithTheRecursiveDefinition() public view {
        for (uint256 size = 1; size <= 20; ++size) {
            bytes32[] memory entries = Reference.entriesOf(size, size);
            for (uint256 index = 0; index < size; ++index) {
                _assertAgrees(entries, index);
            }
        }
    }

    function testFuzz_AgreesWithTheRecursiveDefinition(uint256 seed, uint256 size, uint256 index) public view {
        size = _bound(size, 1, 200);
        _assertAgrees(Reference.entriesOf(seed, size), index % size);
    }

    function testFuzz_MembersVerifyOnceTheBatchIsStored(uint256 seed, uint256 size, uint256 index, uint32 gap)
        public
    {
        (Proof memory proof, bytes32 commitment) = _proof(seed, _bound(size, 1, 100), index);
        _assertMember(proof, 0);
        uint256 time = block.timestamp;
        provenance.storeHash(commitment, "");
        _wait(gap);
        provenance.storeHash(commitment, "again");
        _assertMember(proof, time);
    }

    /// Every bit of the member, of every hash of the path, of the index and of the size.
    function test_EveryBitFlipIsRefused() public {
        uint8[2][4] memory cases = [[1, 0], [2, 1], [11, 5], [13, 12]];
        for (uint256 c = 0; c < cases.length; ++c) {
            (Proof memory proof, bytes32 commitment) = _proof(c, cases[c][0], cases[c][1]);
            provenance.storeHash(commitment, "");
            _assertMember(proof, block.timestamp);
            uint256 bits = 256 * (1 + proof.path.length) + 128;
            for (uint256 bit = 0; bit < bits; ++bit) {
                _flip(proof, bit);
                _assertRefused(proof);
                _flip(proof, bit);
            }
            _assertMember(proof, block.timestamp);
        }
    }

    function testFuzz_BitFlipIsRefused(uint256 seed, uint256 size, uint256 index, uint256 bit) public {
        (Proof memory proof, bytes32 commitment) = _proof(seed, _bound(size, 1, 100), index);
        provenance.storeHash(commitment, "");
        _flip(proof, bit % (256 * (1 + proof.path.length) + 128));
        _assertRefused(proof);
    }

    function testFuzz_AnotherPlaceOrSizeIsRefused(
        uint256 seed,
        uint256 size,
        uint256 index,
        uint64 place,
        uint64 other
    ) public {
        (Proof memory proof, bytes32 commitment) = _proof(seed, _bound(size, 1, 100), index);
        provenance.storeHash(commitment, "");
        (uint64 right, uint64 whole) = (proof.index, proof.size);
        proof.index = uint64(_bound(place, 0, 110));
        if (proof.index != right) _assertRefused(proof);
        (proof.index, proof.size) = (right, uint64(_bound(other, 0, 110)));
        if (proof.size != whole) _assertRefused(proof);
    }

    /// An inner node, shown as if it were a leaf of the shorter tree of that level.
    function test_InnerNodeIsNoMember() public {
        bytes32[] memory entries = Reference.entriesOf(7, 4);
        provenance.storeHash(Reference.batchCommitment(entries), "");
        bytes32[] memory inner = new bytes32[](2);
        for (uint256 i = 0; i < 2; ++i) {
            inner[i] = RFC9162.nodeHash(RFC9162.leafHash(entries[2 * i]), RFC9162.leafHash(entries[2 * i + 1]));
        }
        bytes32[] memory path = new bytes32[](1);
        path[0] = inner[1];
        _assertRefused(Proof(inner[0], 0, 2, path));
        _assertRefused(Proof(inner[0], 0, 4, path));
    }

    /// What is anchored is the commitment; a bare root does not say of which size it is.
    function test_StoredRootIsNoBatch() public {
        (Proof memory proof,) = _proof(1, 5, 3);
        provenance.storeHash(Reference.root(Reference.entriesOf(1, 5)), "");
        _assertMember(proof, 0);
    }

    function testFuzz_RevertIf_IndexIsOutsideTheTree(uint64 index, uint64 size) public {
        size = uint64(_bound(size, 0, LARGEST));
        index = uint64(_bound(index, size, type(uint64).max));
        vm.expectRevert(abi.encodeWithSelector(RFC9162.IndexOutsideTree.selector, index, size));
        verifier.commitmentOf(keccak256("member"), index, size, new bytes32[](0));
    }

    function testFuzz_RevertIf_TreeIsTooLarge(uint64 index, uint64 size) public {
        size = uint64(_bound(size, uint256(LARGEST) + 1, type(uint64).max));
        vm.expectRevert(abi.encodeWithSelector(RFC9162.TreeTooLarge.selector, size));
        verifier.commitmentOf(keccak256("member"), index, size, new bytes32[](64));
    }

    function testFuzz_RevertIf_PathIsOfAnotherLength(uint256 seed, uint256 size, uint256 index, uint256 length)
        public
    {
        (Proof memory proof,) = _proof(seed, _bound(size, 1, 100), index);
        length = _bound(length, 0, 70);
        vm.assume(length != proof.path.length);
        bytes4 reason = length > proof.path.length ? RFC9162.PathTooLong.selector : RFC9162.PathTooShort.selector;
        vm.expectRevert(abi.encodeWithSelector(reason, length));
        verifier.verifyMember(proof.member, proof.index, proof.size, new bytes32[](length));
    }

    function test_LargestTree() public {
        bytes32 member = keccak256("member");
        verifier.commitmentOf(member, 0, LARGEST, new bytes32[](63));
        verifier.commitmentOf(member, LARGEST - 1, LARGEST, new bytes32[](62));
        vm.expectRevert(abi.encodeWithSelector(RFC9162.PathTooLong.selector, 64));
        verifier.commitmentOf(member, 0, LARGEST, new bytes32[](64));
    }

    function test_AsksTheRegistryItWasMadeFor() public {
        vm.assertEq(address(verifier.provenance()), address(provenance), "registry");
        (Proof memory proof, bytes32 commitment) = _proof(1, 3, 0);
        new MLProvenance().storeHash(commitment, "");
        _assertMember(proof, 0);
    }

    function test_RevertIf_RegistryHasNoCode() public {
        vm.expectRevert(abi.encodeWithSelector(IBatchVerifier.NoContract.selector, OWNER));
        new BatchVerifier(IMLProvenance(OWNER));
    }

    function _proof(uint256 seed, uint256 size, uint256 index)
        private
        pure
        returns (Proof memory proof, bytes32 commitment)
    {
        bytes32[] memory entries = Reference.entriesOf(seed, size);
        index %= size;
        proof = Proof(entries[index], uint64(index), uint64(size), Reference.path(entries, index));
        return (proof, Reference.batchCommitment(entries));
    }

    /// @dev Bits 0..63 are the index, 64..127 the size, the next 256 the member, all others the path.
    function _flip(Proof memory proof, uint256 bit) private pure {
        if (bit < 64) {
            proof.index ^= uint64(1 << bit);
        } else if (bit < 128) {
            proof.size ^= uint64(1 << (bit - 64));
        } else if (bit < 384) {
            proof.member ^= bytes32(1 << (bit - 128));
        } else {
            proof.path[(bit - 384) / 256] ^= bytes32(1 << (bit % 256));
        }
    }

    function _assertAgrees(bytes32[] memory entries, uint256 index) private view {
        bytes32[] memory path = Reference.path(entries, index);
        bytes32 commitment = verifier.commitmentOf(entries[index], uint64(index), uint64(entries.length), path);
        vm.assertEq(commitment, Reference.batchCommitment(entries), "commitment");
    }

    function _assertMember(Proof memory proof, uint256 time) private view {
        (bool stored, uint256 timestamp) = verifier.verifyMember(proof.member, proof.index, proof.size, proof.path);
        vm.assertEq(stored, time != 0, "stored");
        vm.assertEq(timestamp, time, "time");
    }

    function _assertRefused(Proof memory proof) private view {
        try verifier.verifyMember(proof.member, proof.index, proof.size, proof.path) returns (
            bool stored, uint256 timestamp
        ) {
            vm.assertTrue(!stored && timestamp == 0, "a spoilt proof verified");
        } catch (bytes memory reason) {
            vm.assertTrue(bytes4(reason) != bytes4(0x4e487b71), "refused by a panic instead of by name");
        }
    }
}

/// @notice Any batches stored by anyone, in any order: exactly the members of stored batches verify.
/// @dev Few and small batches, so that they are stored again, and proofs of one are shown for another.
contract BatchVerifierHandler is Test {
    /// A call of the verifier that must answer with the time of a batch; zero where no batch can make it true.
    struct Question {
        bytes call;
        bytes32 batch;
    }

    uint256 private constant SEEDS = 2;
    uint256 private constant SIZES = 3;

    MLProvenance private immutable provenance;
    BatchVerifier private immutable verifier;
    Question[] private _questions;
    uint256 private _time = 1_700_000_000;
    mapping(bytes32 commitment => uint256) private _since;

    constructor(MLProvenance provenance_) {
        provenance = provenance_;
        verifier = BatchVerifier(_deploy("BatchVerifier", abi.encode(provenance_)));
        for (uint256 seed = 0; seed < SEEDS; ++seed) {
            for (uint256 size = 0; size < SIZES; ++size) {
                _ask(_entries(seed, size));
            }
        }
    }

    function storeBatch(uint256 account, uint256 seed, uint256 size, uint256 gap) external {
        _store(account, Reference.batchCommitment(_entries(seed, size)), gap);
    }

    /// What is not a batch: the bare root, or a member.
    function storeOther(uint256 account, uint256 seed, uint256 size, bool root, uint256 gap) external {
        bytes32[] memory entries = _entries(seed, size);
        _store(account, root ? Reference.root(entries) : entries[0], gap);
    }

    function check() external view {
        for (uint256 i = 0; i < _questions.length; ++i) {
            Question storage question = _questions[i];
            uint256 since = _since[question.batch];
            (bool success, bytes memory answer) = address(verifier).staticcall(question.call);
            vm.assertTrue(success, "a whole proof was refused");
            (bool stored, uint256 timestamp) = abi.decode(answer, (bool, uint256));
            vm.assertEq(stored, since != 0, "stored");
            vm.assertEq(timestamp, since, "time");
        }
    }

    /// @dev Every member in its place, and another member in that place.
    function _ask(bytes32[] memory entries) private {
        bytes32 batch = Reference.batchCommitment(entries);
        for (uint256 index = 0; index < entries.length; ++index) {
            _questions.push(Question(_call(entries, index, entries[index]), batch));
            bytes32 stranger = entries[(index + 1) % entries.length];
            if (entries.length > 1) _questions.push(Question(_call(entries, index, stranger), 0));
        }
    }

    function _call(bytes32[] memory entries, uint256 index, bytes32 member) private pure returns (bytes memory) {
        bytes32[] memory path = Reference.path(entries, index);
        return abi.encodeCall(IBatchVerifier.verifyMember, (member, uint64(index), uint64(entries.length), path));
    }

    function _store(uint256 account, bytes32 commitment, uint256 gap) private {
        _time += gap % 4 * 12;
        vm.warp(_time);
        vm.prank(address(uint160(0xACC0 + account % 2)));
        provenance.storeHash(commitment, "");
        if (_since[commitment] == 0) _since[commitment] = _time;
    }

    function _entries(uint256 seed, uint256 size) private pure returns (bytes32[] memory) {
        return Reference.entriesOf(seed % SEEDS, 1 + size % SIZES);
    }
}

contract BatchVerifierInvariants is Test {
    BatchVerifierHandler private handler;

    function setUp() public {
        handler = new BatchVerifierHandler(new MLProvenance());
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function invariant_ExactlyTheMembersOfStoredBatchesVerify() external view {
        handler.check();
    }
}
