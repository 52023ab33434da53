// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IMRVRegistry} from "./IMRVRegistry.sol";

/// @title Registry of MRV records
/// @notice See `IMRVRegistry`.
/// @dev Storage layout, part of the interface because storage proofs (EIP-1186) read it. With key = keccak256(id):
///
///   slot 0  _records     mapping(address submitter => mapping(bytes32 key => Record))
///           two words, at p = keccak256(key ++ keccak256(pad32(submitter) ++ pad32(0))) and p + 1:
///           the hash; bits 0..63 block time, bits 64..127 block number
///   slot 1  _ids         mapping(bytes32 key => Id)
///           value at keccak256(key ++ pad32(1)):
///           bits 0..159 first submitter, bits 160..223 number of submitters
///   slot 2  _alternates  mapping(bytes32 key => mapping(bytes32 hash => address submitter))
///           value at keccak256(hash ++ keccak256(key ++ pad32(2))):
///           who first registered a hash that is not the first submitter's; zero for the hash that is
contract MRVRegistry is IMRVRegistry {
    struct Record {
        bytes32 hash;
        uint64 timestamp;
        uint64 blockNumber;
    }

    struct Id {
        address firstSubmitter;
        uint64 submitters;
    }

    uint256 private constant MAX_ID_BYTES = 128;
    /// @dev Times a byte, this is a word of 32 such bytes.
    uint256 private constant EACH_BYTE = 0x0101010101010101010101010101010101010101010101010101010101010101;
    uint256 private constant EXCLAMATION_MARKS = 0x21 * EACH_BYTE;

    mapping(address submitter => mapping(bytes32 key => Record)) private _records;
    mapping(bytes32 key => Id) private _ids;
    mapping(bytes32 key => mapping(bytes32 hash => address submitter)) private _alternates;

    /// @inheritdoc IMRVRegistry
    function registerMRV(string calldata mrvId, bytes32 hash) external {
        if (hash == 0) revert ZeroHash();
        _checkId(bytes(mrvId));
        bytes32 key = _keyOf(mrvId);

        bytes32 registered = _records[msg.sender][key].hash;
        if (registered == hash) return;
        if (registered != 0) revert OtherHashRegistered(registered);

        Id storage id = _ids[key];
        if (id.submitters == 0) {
            id.firstSubmitter = msg.sender;
        } else if (_firstWith(key, hash) == address(0)) {
            _alternates[key][hash] = msg.sender;
        }
        ++id.submitters;
        _records[msg.sender][key] = Record(hash, uint64(block.timestamp), uint64(block.number));
        emit MRVRegistered(key, msg.sender, hash, mrvId, block.timestamp);
    }

    /// @inheritdoc IMRVRegistry
    function queryMRV(string calldata mrvId)
        external
        returns (bytes32 hash, uint256 timestamp, address submitter)
    {
        _checkId(bytes(mrvId));
        bytes32 key = _keyOf(mrvId);
        (hash, timestamp, submitter) = _firstRecord(key);
        emit MRVQueried(key, msg.sender, mrvId, hash);
    }

    /// @inheritdoc IMRVRegistry
    function getMRVHash(string calldata mrvId)
        external
        view
        returns (bytes32 hash, uint256 timestamp, address submitter)
    {
        return _firstRecord(_keyOf(mrvId));
    }

    /// @inheritdoc IMRVRegistry
    function getMRVHashBy(address submitter, string calldata mrvId)
        external
        view
        returns (bytes32 hash, uint256 timestamp, uint256 blockNumber)
    {
        Record storage record = _records[submitter][_keyOf(mrvId)];
        return (record.hash, record.timestamp, record.blockNumber);
    }

    /// @inheritdoc IMRVRegistry
    function isMRVRegistered(string calldata mrvId) external view returns (bool) {
        return _ids[_keyOf(mrvId)].submitters != 0;
    }

    /// @inheritdoc IMRVRegistry
    function verifyMRVHash(string calldata mrvId, bytes32 expectedHash) external view returns (bool) {
        return _firstWith(_keyOf(mrvId), expectedHash) != address(0);
    }

    /// @inheritdoc IMRVRegistry
    function firstSubmitterOf(string calldata mrvId, bytes32 hash)
        external
        view
        returns (address submitter, uint256 timestamp)
    {
        bytes32 key = _keyOf(mrvId);
        submitter = _firstWith(key, hash);
        return (submitter, _records[submitter][key].timestamp);
    }

    /// @inheritdoc IMRVRegistry
    function submitterCount(string calldata mrvId) external view returns (uint256) {
        return _ids[_keyOf(mrvId)].submitters;
    }

    function _firstRecord(bytes32 key) private view returns (bytes32 hash, uint256 timestamp, address submitter) {
        submitter = _ids[key].firstSubmitter;
        Record storage record = _records[submitter][key];
        return (record.hash, record.timestamp, submitter);
    }

    /// @dev Who first registered this hash for the id, or the zero address. The id's first submitter is looked up
    /// first, which saves everyone who is alone with an id a storage word.
    function _firstWith(bytes32 key, bytes32 hash) private view returns (address) {
        address first = _ids[key].firstSubmitter;
        return _records[first][key].hash == hash ? first : _alternates[key][hash];
    }

    function _keyOf(string calldata mrvId) private pure returns (bytes32) {
        return keccak256(bytes(mrvId));
    }

    function _checkId(bytes calldata id) private pure {
        uint256 length = id.length;
        if (length == 0 || length > MAX_ID_BYTES) revert InvalidIdLength(length, MAX_ID_BYTES);
        for (uint256 start = 0; start < length; start += 32) {
            // The next 32 bytes, and beyond the end, where a slice has zeros, exclamation marks.
            uint256 word = uint256(bytes32(id[start:])) | EXCLAMATION_MARKS >> 8 * (length - start);
            if (!_isPrintable(word)) revert InvalidIdCharacter(_firstUnprintable(id));
        }
    }

    /// @dev Whether all 32 bytes are 0x21 to 0x7e, for a tenth of the gas of looking at each. The highest bit of a
    /// byte tells: not set in the byte, nor with 1 added, so it is at most 0x7e; set with 0x5f added, so it is at
    /// least 0x21. A sum carries only out of a byte with the highest bit set, where the answer is no anyway.
    function _isPrintable(uint256 word) private pure returns (bool) {
        unchecked {
            return (word | word + EACH_BYTE | ~(word + 0x5f * EACH_BYTE)) & 0x80 * EACH_BYTE == 0;
        }
    }

    function _firstUnprintable(bytes calldata id) private pure returns (uint256 position) {
        while (id[position] > 0x20 && id[position] < 0x7f) ++position;
    }
}
