// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IMLProvenance} from "./IMLProvenance.sol";

/// @title Registry of provenance commitments
/// @notice See `IMLProvenance`.
/// @dev Storage layout, part of the interface because storage proofs (EIP-1186) read it:
///
///   slot 0  _submissions  mapping(address submitter => mapping(bytes32 root => Submission))
///           value at keccak256(root ++ keccak256(pad32(submitter) ++ pad32(0))):
///           bits 0..63 block time, bits 64..127 block number
///   slot 1  _records      mapping(bytes32 root => Record)
///           value at keccak256(root ++ pad32(1)):
///           bits 0..159 first submitter, bits 160..223 block time
///   slot 2  _metadata     mapping(bytes32 root => string)
contract MLProvenance is IMLProvenance {
    struct Submission {
        uint64 timestamp;
        uint64 blockNumber;
    }

    struct Record {
        address submitter;
        uint64 timestamp;
    }

    uint256 private constant MAX_METADATA_BYTES = 1024;

    mapping(address submitter => mapping(bytes32 merkleRoot => Submission)) private _submissions;
    mapping(bytes32 merkleRoot => Record) private _records;
    mapping(bytes32 merkleRoot => string) private _metadata;

    /// @inheritdoc IMLProvenance
    function storeHash(bytes32 merkleRoot, string calldata metadataStr) external {
        if (merkleRoot == 0) revert ZeroHash();
        if (bytes(metadataStr).length > MAX_METADATA_BYTES) {
            revert MetadataTooLong(bytes(metadataStr).length, MAX_METADATA_BYTES);
        }

        if (_records[merkleRoot].timestamp == 0) {
            _records[merkleRoot] = Record(msg.sender, uint64(block.timestamp));
            if (bytes(metadataStr).length != 0) _metadata[merkleRoot] = metadataStr;
            emit HashStored(merkleRoot, metadataStr, block.timestamp);
        }

        Submission storage submission = _submissions[msg.sender][merkleRoot];
        uint256 timestamp = submission.timestamp;
        if (timestamp == 0) {
            timestamp = block.timestamp;
            submission.timestamp = uint64(timestamp);
            submission.blockNumber = uint64(block.number);
        }
        emit HashSubmitted(merkleRoot, msg.sender, metadataStr, timestamp);
    }

    /// @inheritdoc IMLProvenance
    function verifyHash(bytes32 merkleRoot) external view returns (bool) {
        return _isStored(merkleRoot);
    }

    /// @inheritdoc IMLProvenance
    function getHashInfo(bytes32 merkleRoot)
        external
        view
        returns (bool exists, uint256 timestamp, string memory metadataStr)
    {
        return (_isStored(merkleRoot), _records[merkleRoot].timestamp, _metadata[merkleRoot]);
    }

    /// @inheritdoc IMLProvenance
    function getSubmission(address submitter, bytes32 merkleRoot)
        external
        view
        returns (uint256 timestamp, uint256 blockNumber)
    {
        Submission storage submission = _submissions[submitter][merkleRoot];
        return (submission.timestamp, submission.blockNumber);
    }

    /// @inheritdoc IMLProvenance
    function firstSubmitter(bytes32 merkleRoot) external view returns (address) {
        return _records[merkleRoot].submitter;
    }

    /// @inheritdoc IMLProvenance
    function storedHashes(bytes32 merkleRoot) external view returns (bool) {
        return _isStored(merkleRoot);
    }

    /// @inheritdoc IMLProvenance
    function timestamps(bytes32 merkleRoot) external view returns (uint256) {
        return _records[merkleRoot].timestamp;
    }

    /// @inheritdoc IMLProvenance
    function metadata(bytes32 merkleRoot) external view returns (string memory) {
        return _metadata[merkleRoot];
    }

    function _isStored(bytes32 merkleRoot) private view returns (bool) {
        return _records[merkleRoot].timestamp != 0;
    }
}
