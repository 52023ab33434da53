// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IBatchVerifier} from "./IBatchVerifier.sol";
import {IMLProvenance} from "./IMLProvenance.sol";
import {RFC9162} from "./RFC9162.sol";

/// @title Verifier of batch members
/// @notice See `IBatchVerifier`.
/// @dev Keeps no storage.
contract BatchVerifier is IBatchVerifier {
    /// @inheritdoc IBatchVerifier
    IMLProvenance public immutable provenance;

    /// @param provenance_ An `MLProvenance` contract.
    constructor(IMLProvenance provenance_) {
        if (address(provenance_).code.length == 0) revert NoContract(address(provenance_));
        provenance = provenance_;
    }

    /// @inheritdoc IBatchVerifier
    function verifyMember(bytes32 member, uint64 index, uint64 size, bytes32[] calldata path)
        external
        view
        returns (bool stored, uint256 timestamp)
    {
        timestamp = provenance.timestamps(_commitmentOf(member, index, size, path));
        return (timestamp != 0, timestamp);
    }

    /// @inheritdoc IBatchVerifier
    function commitmentOf(bytes32 member, uint64 index, uint64 size, bytes32[] calldata path)
        external
        pure
        returns (bytes32)
    {
        return _commitmentOf(member, index, size, path);
    }

    function _commitmentOf(bytes32 member, uint64 index, uint64 size, bytes32[] calldata path)
        private
        pure
        returns (bytes32)
    {
        return
            RFC9162.batchCommitment(size, RFC9162.rootFromInclusion(RFC9162.leafHash(member), index, size, path));
    }
}
