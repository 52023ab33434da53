// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IMRVRegistry} from "../IMRVRegistry.sol";
import {MRVRegistry} from "../MRVRegistry.sol";
import {Test} from "./Test.sol";

contract MRVRegistryTest is Test {
    string private constant ID = "MRV-fc25ba52-f439-4834-be2b-2dbae1e03437";

    MRVRegistry private registry;

    function setUp() public {
        registry = MRVRegistry(_deploy("MRVRegistry", ""));
        _wait(1_700_000_000);
    }

    function test_NothingIsRegisteredAtFirst() public view {
        _assertFirst(ID, 0, 0, address(0));
        _assertOwn(OWNER, ID, 0, 0, 0);
        vm.assertTrue(!registry.isMRVRegistered(ID), "not registered");
        vm.assertTrue(!registry.verifyMRVHash(ID, 0), "no hash is not a hash");
        vm.assertTrue(!registry.verifyMRVHash(ID, keccak256("hash")), "not registered");
        vm.assertEq(registry.submitterCount(ID), 0, "nobody");
    }

    function testFuzz_RegistrationReadsBack(uint256 seed, bytes32 hash, bytes32 other, address account) public {
        vm.assume(hash != 0 && other != hash && account != address(0));
        string memory id = _id(seed);
        vm.expectEmit(address(registry));
        emit IMRVRegistry.MRVRegistered(keccak256(bytes(id)), account, hash, id, block.timestamp);
        _register(account, id, hash);
        _assertFirst(id, hash, block.timestamp, account);
        _assertOwn(account, id, hash, block.timestamp, block.number);
        vm.assertTrue(registry.isMRVRegistered(id), "registered");
        vm.assertTrue(registry.verifyMRVHash(id, hash), "this hash");
        vm.assertTrue(!registry.verifyMRVHash(id, other), "no other hash");
        vm.assertEq(registry.submitterCount(id), 1, "one account");
        vm.assertTrue(!registry.isMRVRegistered(string.concat(id, "x")), "no other id");
    }

    function testFuzz_RepeatIsANoOp(bytes32 hash, uint32 gap) public {
        vm.assume(hash != 0);
        uint256 time = block.timestamp;
        uint256 number = block.number;
        _register(OWNER, ID, hash);
        _wait(gap);
        vm.recordLogs();
        _register(OWNER, ID, hash);
        vm.assertEq(vm.getRecordedLogs().length, 0, "one event for each record");
        _assertFirst(ID, hash, time, OWNER);
        _assertOwn(OWNER, ID, hash, time, number);
        vm.assertEq(registry.submitterCount(ID), 1, "one account");
    }

    function testFuzz_RevertIf_SubmitterChangesItsHash(bytes32 hash, bytes32 other, uint32 gap) public {
        vm.assume(hash != 0 && other != 0 && other != hash);
        uint256 time = block.timestamp;
        uint256 number = block.number;
        _register(OWNER, ID, hash);
        _wait(gap);
        vm.expectRevert(abi.encodeWithSelector(IMRVRegistry.OtherHashRegistered.selector, hash));
        vm.prank(OWNER);
        registry.registerMRV(ID, other);
        _assertOwn(OWNER, ID, hash, time, number);
        vm.assertTrue(!registry.verifyMRVHash(ID, other), "refused is not registered");
    }

    /// The copy pays a higher tip and is executed just before, in the same block.
    function testFuzz_CopyingAPendingRegistrationTakesNothing(bytes32 hash) public {
        vm.assume(hash != 0);
        _register(THIEF, ID, hash);
        vm.expectEmit(address(registry));
        emit IMRVRegistry.MRVRegistered(keccak256(bytes(ID)), OWNER, hash, ID, block.timestamp);
        _register(OWNER, ID, hash);
        _assertOwn(OWNER, ID, hash, block.timestamp, block.number);
        vm.assertTrue(registry.verifyMRVHash(ID, hash), "the honest file");
        vm.assertEq(registry.submitterCount(ID), 2, "two accounts");
    }

    /// The id is taken from the mempool, for another hash.
    function testFuzz_SquattingAnIdTakesNothing(bytes32 hash, bytes32 squat, uint32 gap) public {
        vm.assume(hash != 0 && squat != 0 && squat != hash);
        uint256 time = block.timestamp;
        _register(THIEF, ID, squat);
        _wait(gap);
        _register(OWNER, ID, hash);
        _assertOwn(OWNER, ID, hash, block.timestamp, block.number);
        vm.assertTrue(registry.verifyMRVHash(ID, hash), "the honest file");
        _assertFirstWith(ID, hash, OWNER, block.timestamp);
        _assertFirstWith(ID, squat, THIEF, time);
        _assertFirst(ID, squat, time, THIEF);
        vm.assertEq(registry.submitterCount(ID), 2, "two accounts");
    }

    function test_FirstOfSeveralWithOneHash() public {
        bytes32 hash = keccak256("hash");
        _register(THIEF, ID, keccak256("squat"));
        _wait(12);
        uint256 time = block.timestamp;
        _register(OWNER, ID, hash);
        _wait(12);
        _register(address(0xB0B), ID, hash);
        _assertFirstWith(ID, hash, OWNER, time);
        _assertOwn(address(0xB0B), ID, hash, block.timestamp, block.number);
        vm.assertEq(registry.submitterCount(ID), 3, "three accounts");
    }

    function test_RevertIf_HashIsZero() public {
        vm.expectRevert(abi.encodeWithSelector(IMRVRegistry.ZeroHash.selector));
        registry.registerMRV(ID, 0);
    }

    function test_RevertIf_IdIsEmpty() public {
        vm.expectRevert(abi.encodeWithSelector(IMRVRegistry.InvalidIdLength.selector, 0, 128));
        registry.registerMRV("", keccak256("hash"));
    }

    function testFuzz_RevertIf_IdIsTooLong(uint16 excess) public {
        uint256 length = 129 + uint256(excess) % 4096;
        string memory id = _repeat("x", length);
        vm.expectRevert(abi.encodeWithSelector(IMRVRegistry.InvalidIdLength.selector, length, 128));
        registry.registerMRV(id, keccak256("hash"));
    }

    function test_LongestAndShortestId() public {
        _register(OWNER, _repeat("x", 128), keccak256("hash"));
        _register(OWNER, "x", keccak256("hash"));
        vm.assertTrue(registry.isMRVRegistered(_repeat("x", 128)) && registry.isMRVRegistered("x"), "registered");
    }

    /// Every byte, at the ends and in the middle of ids that end before, at and after the border of a word.
    function test_IdCharacters() public {
        uint8[7] memory lengths = [1, 2, 31, 32, 33, 65, 128];
        for (uint256 i = 0; i < lengths.length; ++i) {
            bytes memory id = bytes(_repeat("x", lengths[i]));
            for (uint256 value = 0; value < 256; ++value) {
                _tryCharacter(id, 0, value);
                _tryCharacter(id, id.length / 2, value);
                _tryCharacter(id, id.length - 1, value);
            }
        }
    }

    /// A proper id with some bytes replaced, against the definition read byte by byte.
    function testFuzz_IdCharacters(uint256 seed, bytes32 spoilt, uint256 places) public {
        bytes memory id = bytes(_id(seed));
        for (uint256 i = 0; i < 3; ++i) {
            id[(places >> 8 * i) % id.length] = spoilt[i];
        }
        uint256 position = 0;
        while (position < id.length && id[position] > " " && id[position] <= "~") ++position;
        if (position < id.length) {
            vm.expectRevert(abi.encodeWithSelector(IMRVRegistry.InvalidIdCharacter.selector, position));
        }
        registry.registerMRV(string(id), keccak256("hash"));
        vm.assertEq(registry.isMRVRegistered(string(id)), position == id.length, "registered if allowed");
    }

    function test_QueryAnswersAndLeavesATrace() public {
        bytes32 hash = keccak256("hash");
        _register(OWNER, ID, hash);
        uint256 time = block.timestamp;
        _wait(12);
        _assertQuery(ID, hash, time, OWNER);
        _assertQuery("MRV-unknown", 0, 0, address(0));
    }

    function test_RevertIf_QueriedIdCannotExist() public {
        vm.expectRevert(abi.encodeWithSelector(IMRVRegistry.InvalidIdCharacter.selector, 3));
        registry.queryMRV("MRV 1");
    }

    function test_IdsThatCannotExistReadAsNotRegistered() public view {
        _assertFirst("", 0, 0, address(0));
        vm.assertTrue(!registry.isMRVRegistered("a b"), "not registered");
        vm.assertTrue(!registry.verifyMRVHash(_repeat("x", 129), keccak256("hash")), "not registered");
    }

    function testFuzz_StorageIsWhereProofsLook(bytes32 hash, bytes32 squat) public {
        vm.assume(hash != 0 && squat != 0 && squat != hash);
        _register(THIEF, ID, squat);
        _register(OWNER, ID, hash);
        bytes32 key = keccak256(bytes(ID));
        uint256 slot = uint256(keccak256(abi.encode(key, keccak256(abi.encode(OWNER, 0)))));
        vm.assertEq(_word(slot), uint256(hash), "hash");
        vm.assertEq(_word(slot + 1), block.timestamp | block.number << 64, "time and block");
        slot = uint256(keccak256(abi.encode(key, 1)));
        vm.assertEq(_word(slot), uint256(uint160(THIEF)) | 2 << 160, "first submitter and number");
        slot = uint256(keccak256(abi.encode(hash, keccak256(abi.encode(key, 2)))));
        vm.assertEq(_word(slot), uint256(uint160(OWNER)), "first submitter with this hash");
    }

    function _register(address sender, string memory id, bytes32 hash) private {
        vm.prank(sender);
        registry.registerMRV(id, hash);
    }

    function _tryCharacter(bytes memory id, uint256 position, uint256 value) private {
        bytes1 proper = id[position];
        id[position] = bytes1(uint8(value));
        bool allowed = value > 32 && value < 127;
        if (!allowed) vm.expectRevert(abi.encodeWithSelector(IMRVRegistry.InvalidIdCharacter.selector, position));
        registry.registerMRV(string(id), keccak256("hash"));
        vm.assertEq(registry.isMRVRegistered(string(id)), allowed, "registered if allowed");
        id[position] = proper;
    }

    function _word(uint256 slot) private view returns (uint256) {
        return uint256(vm.load(address(registry), bytes32(slot)));
    }

    function _assertFirst(string memory id, bytes32 hash, uint256 time, address account) private view {
        (bytes32 registered, uint256 timestamp, address submitter) = registry.getMRVHash(id);
        vm.assertEq(registered, hash, "hash of the first record");
        vm.assertEq(timestamp, time, "time of the first record");
        vm.assertEq(submitter, account, "account of the first record");
    }

    function _assertOwn(address account, string memory id, bytes32 hash, uint256 time, uint256 number)
        private
        view
    {
        (bytes32 registered, uint256 timestamp, uint256 blockNumber) = registry.getMRVHashBy(account, id);
        vm.assertEq(registered, hash, "hash of the account's record");
        vm.assertEq(timestamp, time, "time of the account's record");
        vm.assertEq(blockNumber, number, "block of the account's record");
    }

    function _assertFirstWith(string memory id, bytes32 hash, address account, uint256 time) private view {
        (address submitter, uint256 timestamp) = registry.firstSubmitterOf(id, hash);
        vm.assertEq(submitter, account, "first account with this hash");
        vm.assertEq(timestamp, time, "time of the first account with this hash");
    }

    function _assertQuery(string memory id, bytes32 hash, uint256 time, address account) private {
        vm.expectEmit(address(registry));
        emit IMRVRegistry.MRVQueried(keccak256(bytes(id)), THIEF, id, hash);
        vm.prank(THIEF);
        (bytes32 answered, uint256 timestamp, address submitter) = registry.queryMRV(id);
        vm.assertEq(answered, hash, "hash");
        vm.assertEq(timestamp, time, "time");
        vm.assertEq(submitter, account, "account");
    }

    /// @dev An id of 1 to 128 printable characters.
    function _id(uint256 seed) private pure returns (string memory) {
        bytes memory id = new bytes(1 + seed % 128);
        for (uint256 i = 0; i < id.length; ++i) {
            id[i] = bytes1(uint8(33 + uint256(keccak256(abi.encode(seed, i))) % 94));
        }
        return string(id);
    }

    function _repeat(bytes1 character, uint256 length) private pure returns (string memory) {
        bytes memory text = new bytes(length);
        for (uint256 i = 0; i < length; ++i) {
            text[i] = character;
        }
        return string(text);
    }
}

/// @notice Any registrations by anyone, with any gaps: keeps a model of what must be read, and compares.
/// @dev Few accounts, ids and hashes, so that they meet often.
contract MRVRegistryHandler is Test {
    struct Expected {
        bytes32 hash;
        uint256 timestamp;
        uint256 number;
        address submitter;
    }

    uint256 private constant ACCOUNTS = 3;
    uint256 private constant IDS = 2;
    uint256 private constant HASHES = 3;

    MRVRegistry private immutable registry;
    uint256 private _time = 1_700_000_000;
    uint256 private _number = 1;
    uint256 private _events;
    mapping(string id => Expected) private _first;
    mapping(string id => uint256) private _count;
    mapping(string id => mapping(bytes32 hash => Expected)) private _firstWith;
    mapping(address account => mapping(string id => Expected)) private _own;

    constructor(MRVRegistry registry_) {
        registry = registry_;
    }

    function register(uint256 account, uint256 id, uint256 hash, uint256 gap) external {
        _pass(gap);
        _register(_account(account), _id(id), _hash(hash));
    }

    /// A pending registration whose id and hash, or id alone, are copied and executed just before.
    function overtake(uint256 thief, uint256 owner, uint256 id, uint256 hash, uint256 squat, uint256 gap)
        external
    {
        _pass(gap);
        _register(_account(thief), _id(id), _hash(squat));
        _register(_account(owner), _id(id), _hash(hash));
    }

    function registerNothing(uint256 account, uint256 id) external {
        _pass(0);
        vm.expectRevert(abi.encodeWithSelector(IMRVRegistry.ZeroHash.selector));
        vm.prank(_account(account));
        registry.registerMRV(_id(id), 0);
    }

    function check() external view {
        for (uint256 i = 0; i < IDS; ++i) {
            string memory id = _id(i);
            _checkFirst(id);
            for (uint256 h = 0; h < HASHES; ++h) {
                _checkHash(id, _hash(h));
            }
            for (uint256 a = 0; a < ACCOUNTS; ++a) {
                _checkOwn(_account(a), id);
            }
        }
    }

    function _checkFirst(string memory id) private view {
        Expected storage expected = _first[id];
        (bytes32 hash, uint256 timestamp, address submitter) = registry.getMRVHash(id);
        vm.assertEq(hash, expected.hash, "hash of the first record");
        vm.assertEq(timestamp, expected.timestamp, "time of the first record");
        vm.assertEq(submitter, expected.submitter, "account of the first record");
        vm.assertEq(registry.isMRVRegistered(id), expected.hash != 0, "registered");
        vm.assertEq(registry.submitterCount(id), _count[id], "number of accounts");
        vm.assertTrue(!registry.verifyMRVHash(id, 0), "no hash is not a hash");
    }

    function _checkHash(string memory id, bytes32 hash) private view {
        Expected storage expected = _firstWith[id][hash];
        (address submitter, uint256 timestamp) = registry.firstSubmitterOf(id, hash);
        vm.assertEq(registry.verifyMRVHash(id, hash), expected.hash != 0, "verifies");
        vm.assertEq(submitter, expected.submitter, "first account with this hash");
        vm.assertEq(timestamp, expected.timestamp, "time of the first account with this hash");
    }

    function _checkOwn(address account, string memory id) private view {
        Expected storage expected = _own[account][id];
        (bytes32 hash, uint256 timestamp, uint256 number) = registry.getMRVHashBy(account, id);
        vm.assertEq(hash, expected.hash, "hash of the account's record");
        vm.assertEq(timestamp, expected.timestamp, "time of the account's record");
        vm.assertEq(number, expected.number, "block of the account's record");
    }

    /// @dev Whether the call succeeds may depend on the account's own records only.
    function _register(address account, string memory id, bytes32 hash) private {
        bytes32 own = _own[account][id].hash;
        if (own != 0 && own != hash) {
            vm.expectRevert(abi.encodeWithSelector(IMRVRegistry.OtherHashRegistered.selector, own));
        }
        vm.recordLogs();
        vm.prank(account);
        registry.registerMRV(id, hash);
        vm.assertEq(vm.getRecordedLogs().length, own == 0 ? 1 : 0, "one event for each record");
        if (own != 0) return;
        Expected memory now_ = Expected(hash, _time, _number, account);
        _own[account][id] = now_;
        ++_count[id];
        if (_first[id].hash == 0) _first[id] = now_;
        if (_firstWith[id][hash].hash == 0) _firstWith[id][hash] = now_;
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

    function _id(uint256 seed) private pure returns (string memory) {
        return ["MRV-a", "MRV-fc25ba52-f439-4834-be2b-2dbae1e03437"][seed % IDS];
    }

    function _hash(uint256 seed) private pure returns (bytes32) {
        return keccak256(abi.encode("hash", seed % HASHES));
    }
}

contract MRVRegistryInvariants is Test {
    MRVRegistryHandler private handler;

    function setUp() public {
        handler = new MRVRegistryHandler(MRVRegistry(_deploy("MRVRegistry", "")));
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function invariant_NothingRegisteredEverChanges() external view {
        handler.check();
    }
}
