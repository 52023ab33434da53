// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IMLProvenance} from "../IMLProvenance.sol";
import {MLProvenance} from "../MLProvenance.sol";
import {Test} from "./Test.sol";

contract MLProvenanceTest is Test {
    MLProvenance private registry;

    function setUp() public {
        registry = MLProvenance(_deploy("MLProvenance", ""));
        _wait(1_700_000_000);
    }

    function testFuzz_FirstWriteStands(
        bytes32 root,
        address first,
        address second,
        string memory label,
        string memory other,
        uint32 gap
    ) public {
        vm.assume(root != 0 && bytes(label).length <= 1024 && bytes(other).length <= 1024);
        uint256 time = block.timestamp;
        uint256 number = block.number;
        _store(first, root, label);
        _wait(gap);
        _store(second, root, other);
        (bool exists, uint256 timestamp, string memory metadata) = registry.getHashInfo(root);
        vm.assertTrue(exists, "stored");
        vm.assertEq(timestamp, time, "time of the first record");
        vm.assertEq(metadata, label, "label of the first record");
        vm.assertEq(registry.firstSubmitter(root), first, "account of the first record");
        _assertSubmission(first, root, time, number);
        if (second != first) _assertSubmission(second, root, block.timestamp, block.number);
    }

    function testFuzz_GettersAgree(bytes32 root, bytes32 other, string memory label) public {
        vm.assume(root != 0 && root != other && bytes(label).length <= 1024);
        _store(OWNER, root, label);
        vm.assertTrue(registry.verifyHash(root) && registry.storedHashes(root), "stored");
        vm.assertTrue(!registry.verifyHash(other) && !registry.storedHashes(other), "not stored");
        vm.assertEq(registry.timestamps(root), block.timestamp, "time");
        vm.assertEq(registry.timestamps(other), 0, "no time");
        vm.assertEq(registry.metadata(root), label, "label");
        vm.assertEq(registry.metadata(other), "", "no label");
        vm.assertEq(registry.firstSubmitter(other), address(0), "no account");
    }

    function test_RepeatIsANoOp() public {
        bytes32 root = keccak256("root");
        uint256 time = block.timestamp;
        uint256 number = block.number;
        _store(OWNER, root, "first");
        _wait(12);
        vm.expectEmit(address(registry));
        emit IMLProvenance.HashSubmitted(root, OWNER, "again", time);
        _store(OWNER, root, "again");
        vm.assertEq(registry.metadata(root), "first", "label");
        vm.assertEq(registry.timestamps(root), time, "time");
        _assertSubmission(OWNER, root, time, number);
    }

    /// The copy pays a higher tip and is executed just before, in the same block.
    function testFuzz_CopyingAPendingCallTakesNothing(bytes32 root, string memory label) public {
        vm.assume(root != 0 && bytes(label).length <= 1024);
        _store(THIEF, root, label);
        vm.expectEmit(address(registry));
        emit IMLProvenance.HashSubmitted(root, OWNER, label, block.timestamp);
        _store(OWNER, root, label);
        _assertSubmission(OWNER, root, block.timestamp, block.number);
        vm.assertTrue(registry.verifyHash(root), "stored");
    }

    function test_RevertIf_HashIsZero() public {
        vm.expectRevert(abi.encodeWithSelector(IMLProvenance.ZeroHash.selector));
        registry.storeHash(0, "label");
    }

    function test_LongestLabel() public {
        string memory label = string(new bytes(1024));
        _store(OWNER, keccak256("root"), label);
        vm.assertEq(registry.metadata(keccak256("root")), label, "label");
    }

    function testFuzz_RevertIf_LabelIsTooLong(uint16 excess) public {
        uint256 length = 1025 + uint256(excess) % 4096;
        vm.expectRevert(abi.encodeWithSelector(IMLProvenance.MetadataTooLong.selector, length, 1024));
        registry.storeHash(keccak256("root"), string(new bytes(length)));
    }

    function testFuzz_StorageIsWhereProofsLook(bytes32 root, address submitter) public {
        vm.assume(root != 0);
        _store(submitter, root, "");
        bytes32 slot = keccak256(abi.encode(root, keccak256(abi.encode(submitter, 0))));
        uint256 word = block.timestamp | block.number << 64;
        vm.assertEq(uint256(vm.load(address(registry), slot)), word, "submission");
        slot = keccak256(abi.encode(root, 1));
        word = uint256(uint160(submitter)) | block.timestamp << 160;
        vm.assertEq(uint256(vm.load(address(registry), slot)), word, "record");
    }

    function _store(address sender, bytes32 root, string memory label) private {
        vm.prank(sender);
        registry.storeHash(root, label);
    }

    function _assertSubmission(address submitter, bytes32 root, uint256 time, uint256 number) private view {
        (uint256 timestamp, uint256 blockNumber) = registry.getSubmission(submitter, root);
        vm.assertEq(timestamp, time, "time of the account's record");
        vm.assertEq(blockNumber, number, "block of the account's record");
    }
}

/// @notice Any calls by anyone, with any gaps: keeps a model of what must be read, and compares.
/// @dev Few accounts, roots and labels, so that they meet often.
contract MLProvenanceHandler is Test {
    struct Expected {
        uint256 timestamp;
        uint256 number;
        address submitter;
        string label;
    }

    uint256 private constant ACCOUNTS = 3;
    uint256 private constant ROOTS = 3;

    MLProvenance private immutable registry;
    uint256 private _time = 1_700_000_000;
    uint256 private _number = 1;
    mapping(bytes32 root => Expected) private _first;
    mapping(address account => mapping(bytes32 root => Expected)) private _own;

    constructor(MLProvenance registry_) {
        registry = registry_;
    }

    function store(uint256 account, uint256 root, uint256 label, uint256 gap) external {
        _pass(gap);
        _store(_account(account), _root(root), _label(label));
    }

    /// A pending call, copied and executed just before.
    function overtake(uint256 thief, uint256 owner, uint256 root, uint256 label, uint256 gap) external {
        _pass(gap);
        _store(_account(thief), _root(root), _label(label));
        _store(_account(owner), _root(root), _label(label));
    }

    function storeNothing(uint256 account, uint256 label) external {
        _pass(0);
        vm.expectRevert(abi.encodeWithSelector(IMLProvenance.ZeroHash.selector));
        vm.prank(_account(account));
        registry.storeHash(0, _label(label));
    }

    function check() external view {
        for (uint256 r = 0; r <= ROOTS; ++r) {
            bytes32 root = r == ROOTS ? bytes32(0) : _root(r);
            Expected storage first = _first[root];
            (bool exists, uint256 timestamp, string memory label) = registry.getHashInfo(root);
            vm.assertEq(exists, first.timestamp != 0, "stored");
            vm.assertEq(timestamp, first.timestamp, "time of the first record");
            vm.assertEq(label, first.label, "label of the first record");
            vm.assertEq(registry.firstSubmitter(root), first.submitter, "account of the first record");
            for (uint256 a = 0; a < ACCOUNTS; ++a) {
                Expected storage own = _own[_account(a)][root];
                (uint256 since, uint256 number) = registry.getSubmission(_account(a), root);
                vm.assertEq(since, own.timestamp, "time of the account's record");
                vm.assertEq(number, own.number, "block of the account's record");
            }
        }
    }

    function _store(address account, bytes32 root, string memory label) private {
        vm.prank(account);
        registry.storeHash(root, label);
        Expected memory now_ = Expected(_time, _number, account, label);
        if (_first[root].timestamp == 0) _first[root] = now_;
        if (_own[account][root].timestamp == 0) _own[account][root] = now_;
    }

    function _pass(uint256 gap) private {
        gap %= 4;
        _time += gap * 12;
        _number += gap;
        vm.warp(_time);
        vm.roll(_number);
    }

    function _account(uint256 seed) private pure returns (address) {
        return address(uint160(0xACC0 + seed % ACCOUNTS));
    }

    function _root(uint256 seed) private pure returns (bytes32) {
        return keccak256(abi.encode("root", seed % ROOTS));
    }

    function _label(uint256 seed) private pure returns (string memory) {
        return ["", "label", "a label that does not fit into one word of storage"][seed % 3];
    }
}

contract MLProvenanceInvariants is Test {
    MLProvenanceHandler private handler;

    function setUp() public {
        handler = new MLProvenanceHandler(MLProvenance(_deploy("MLProvenance", "")));
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function invariant_NothingRecordedEverChanges() external view {
        handler.check();
    }
}
