// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IMLProvenance} from "./IMLProvenance.sol";

/// @title Verifier of batch members
/// @notice Says whether, and since when, a commitment is anchored as a member of a batch.
/// @dev A batch is an RFC 9162 tree over 32-byte commitments, anchored in `MLProvenance` as one commitment. A path
/// that does not fit its index and size is refused with an error; one that fits and leads elsewhere leads to a
/// commitment that nobody stored. Who stored it is a question to `MLProvenance` about `commitmentOf`.
interface IBatchVerifier {
    /// @notice There is no contract at this address.
    error NoContract(address account);

    /// @notice The registry that is asked.
    function provenance() external view returns (IMLProvenance);

    /// @notice The commitment that a batch must have been anchored as, if this is a member of it.
    /// @param member The member's own commitment, which is its entry in the tree.
    /// @param index The member's zero-based position.
    /// @param size Number of members.
    /// @param path Sibling hashes, the member's first.
    function commitmentOf(bytes32 member, uint64 index, uint64 size, bytes32[] calldata path)
        external
        pure
        returns (bytes32);

    /// @notice Whether the batch with this member is stored, and when it first was. Arguments as for `commitmentOf`.
    /// @return stored Whether anyone has stored the batch.
    /// @return timestamp Block time of the batch's first record, or zero.
    function verifyMember(bytes32 member, uint64 index, uint64 size, bytes32[] calldata path)
        external
        view
        returns (bool stored, uint256 timestamp);
}
