// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Registry of MRV records
/// @notice Remembers which account stated which hash for an MRV id, and when.
/// @dev Every account has one record for each id, and nothing is ever overwritten or deleted. There is no owner, and
/// whether a call succeeds depends on nothing but its arguments and its sender's own earlier calls. An id belongs to
/// nobody: whoever copies a registration out of the mempool, or takes its id for another hash, gains a record of
/// their own. The account they copied still registers, and `getMRVHashBy` and `verifyMRVHash` answer for its file as
/// if they had never been there; `getMRVHash`, which names an id alone, answers for whoever came first.
///
/// An id is 1 to 128 bytes of printable ASCII without spaces (0x21 to 0x7e), so that no two ids look the same. For
/// reading, an id that cannot exist is one that is not registered.
interface IMRVRegistry {
    /// @notice An account registered a hash for an id. Emitted once for each record, so the events of an id name all
    /// its submitters; a repeated call emits nothing.
    /// @param key keccak256 of the id, to search by.
    /// @param submitter The account that called.
    /// @param hash SHA-256 of the MRV record.
    /// @param mrvId The id.
    /// @param timestamp Block time, seconds since 1970.
    event MRVRegistered(
        bytes32 indexed key, address indexed submitter, bytes32 indexed hash, string mrvId, uint256 timestamp
    );

    /// @notice An account asked for an id through `queryMRV`, and left that on the chain.
    /// @param key keccak256 of the id, to search by.
    /// @param querier The account that called.
    /// @param mrvId The id.
    /// @param hash The hash that was answered, or zero where the id is not registered.
    event MRVQueried(bytes32 indexed key, address indexed querier, string mrvId, bytes32 hash);

    /// @notice The zero hash is the value of an absent record, so it cannot be registered.
    error ZeroHash();

    /// @notice The sender has registered another hash for this id. A correction is a new record, with an id of its
    /// own, whose `supersedes` names this one.
    /// @param registered The hash that stands.
    error OtherHashRegistered(bytes32 registered);

    /// @notice An id has 1 to `limit` bytes.
    /// @param length Bytes given.
    /// @param limit Bytes allowed.
    error InvalidIdLength(uint256 length, uint256 limit);

    /// @notice An id is printable ASCII without spaces.
    /// @param position Zero-based position of the first byte that is not.
    error InvalidIdCharacter(uint256 position);

    /// @notice Record a hash for an id. The sender's first record for an id stands for ever; repeating it succeeds and
    /// changes nothing, another hash is refused. What other accounts registered plays no part.
    /// @param mrvId Public id, such as MRV-fc25ba52-f439-4834-be2b-2dbae1e03437.
    /// @param hash SHA-256 of the MRV record; not zero.
    function registerMRV(string calldata mrvId, bytes32 hash) external;

    /// @notice The record of the account that registered an id first. That need not be whose file you hold: check a
    /// file with `verifyMRVHash`, or with `getMRVHashBy` where you know who should have registered it.
    /// @dev Reading is free and leaves no trace; `queryMRV` answers the same and emits `MRVQueried`.
    /// @return hash The hash, or zero where nobody registered the id.
    /// @return timestamp Its block time, or zero.
    /// @return submitter Its account, or the zero address.
    function getMRVHash(string calldata mrvId)
        external
        view
        returns (bytes32 hash, uint256 timestamp, address submitter);

    /// @notice The record of one account. Nobody else can make it, keep it from being made, or change it.
    /// @return hash The hash, or zero where this account never registered the id.
    /// @return timestamp Block time, or zero.
    /// @return blockNumber Block, or zero.
    function getMRVHashBy(address submitter, string calldata mrvId)
        external
        view
        returns (bytes32 hash, uint256 timestamp, uint256 blockNumber);

    /// @notice Whether anyone has registered this id.
    function isMRVRegistered(string calldata mrvId) external view returns (bool);

    /// @notice Whether anyone has registered exactly this hash for this id.
    /// @dev A file whose author registered it reads true whatever others did with its id. In return, true says that
    /// somebody stands for the file, not who: `firstSubmitterOf` names the account and `submitterCount` says whether
    /// others use the id.
    function verifyMRVHash(string calldata mrvId, bytes32 expectedHash) external view returns (bool);

    /// @notice The account that was the first to register exactly this hash for this id.
    /// @return submitter The account, or the zero address where nobody did.
    /// @return timestamp Its block time, or zero.
    function firstSubmitterOf(string calldata mrvId, bytes32 hash)
        external
        view
        returns (address submitter, uint256 timestamp);

    /// @notice How many accounts have registered this id, with whatever hash. The `MRVRegistered` events name them.
    function submitterCount(string calldata mrvId) external view returns (uint256);

    /// @notice Same as `getMRVHash`, as a transaction that leaves an `MRVQueried` event behind: for whoever wants it
    /// on record that they looked, and what they were told.
    function queryMRV(string calldata mrvId) external returns (bytes32 hash, uint256 timestamp, address submitter);
}
