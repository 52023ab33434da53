// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Registry of provenance commitments
/// @notice Remembers when a 32-byte commitment was first seen, and when each account first stated it.
/// @dev Nothing is ever overwritten or deleted, there is no owner, and no call depends on another account's
/// behaviour: whoever copies a commitment out of the mempool gains a record of their own and takes nothing from
/// the account they copied.
interface IMLProvenance {
    /// @notice A commitment was stored for the first time. Emitted once for each commitment.
    /// @param merkleRoot The commitment.
    /// @param metadata What its first submitter said about it.
    /// @param timestamp Block time, seconds since 1970.
    event HashStored(bytes32 indexed merkleRoot, string metadata, uint256 timestamp);

    /// @notice An account stated a commitment. Emitted by every successful call of `storeHash`.
    /// @param merkleRoot The commitment.
    /// @param submitter The account that called.
    /// @param metadata What it said about the commitment in this call.
    /// @param timestamp Block time at which this account *first* stated this commitment.
    event HashSubmitted(
        bytes32 indexed merkleRoot, address indexed submitter, string metadata, uint256 timestamp
    );

    /// @notice The zero hash is the value of an absent record, so it cannot be stored.
    error ZeroHash();

    /// @notice Metadata is a label, not a document.
    /// @param length Bytes given.
    /// @param limit Bytes allowed.
    error MetadataTooLong(uint256 length, uint256 limit);

    /// @notice Record a commitment. The first record of a commitment, and the first of each account, stand for
    /// ever; a repeated call succeeds and changes neither.
    /// @param merkleRoot The commitment; not zero.
    /// @param metadataStr Public label; at most 1024 bytes. Kept only with the first record of the commitment.
    function storeHash(bytes32 merkleRoot, string calldata metadataStr) external;

    /// @notice Whether anyone has stored this commitment.
    function verifyHash(bytes32 merkleRoot) external view returns (bool);

    /// @notice The first record of a commitment.
    /// @return exists Whether there is one.
    /// @return timestamp Its block time, or zero.
    /// @return metadataStr Its label, or empty.
    function getHashInfo(bytes32 merkleRoot)
        external
        view
        returns (bool exists, uint256 timestamp, string memory metadataStr);

    /// @notice When and where an account first stated a commitment.
    /// @return timestamp Block time, or zero where it never did.
    /// @return blockNumber Block, or zero where it never did.
    function getSubmission(address submitter, bytes32 merkleRoot)
        external
        view
        returns (uint256 timestamp, uint256 blockNumber);

    /// @notice The account whose call made the first record, or the zero address.
    function firstSubmitter(bytes32 merkleRoot) external view returns (address);

    /// @notice Same as `verifyHash`.
    function storedHashes(bytes32 merkleRoot) external view returns (bool);

    /// @notice Block time of the first record, or zero.
    function timestamps(bytes32 merkleRoot) external view returns (uint256);

    /// @notice Label of the first record, or empty.
    function metadata(bytes32 merkleRoot) external view returns (string memory);
}
