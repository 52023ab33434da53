// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title The log tree of RFC 9162, and the commitment of a batch
/// @notice Recomputes the root that an inclusion path leads to, and the commitment that a batch is anchored as.
/// @dev Leaf = SHA-256(0x00 ++ entry), node = SHA-256(0x01 ++ left ++ right); an odd last node moves up unchanged.
/// Indices are zero-based. This is not the sorted-pair tree that most contracts verify.
library RFC9162 {
    /// @notice Largest tree, so that sizes fit the signed 64-bit integers of other languages.
    uint64 internal constant MAX_TREE_SIZE = 2 ** 63 - 1;

    /// @notice The size is above 2^63 - 1.
    error TreeTooLarge(uint64 size);

    /// @notice There is no such leaf in a tree of this size.
    error IndexOutsideTree(uint64 index, uint64 size);

    /// @notice The path has more hashes than lie between this leaf and the root.
    error PathTooLong(uint256 length);

    /// @notice The path has fewer hashes than lie between this leaf and the root.
    error PathTooShort(uint256 length);

    /// @notice SHA-256(0x00 ++ entry).
    function leafHash(bytes32 entry) internal pure returns (bytes32) {
        return sha256(bytes.concat(hex"00", entry));
    }

    /// @notice SHA-256(0x01 ++ left ++ right).
    function nodeHash(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return sha256(bytes.concat(hex"01", left, right));
    }

    /// @notice Recompute the root that an inclusion path commits to (RFC 9162, section 2.1.3.2).
    /// @param leaf The leaf's hash, not its entry.
    /// @param index The leaf's position; below `size`.
    /// @param size Number of leaves of the tree.
    /// @param path Sibling hashes, the leaf's first; exactly as many as the index and the size ask for.
    function rootFromInclusion(bytes32 leaf, uint64 index, uint64 size, bytes32[] calldata path)
        internal
        pure
        returns (bytes32 root)
    {
        if (size > MAX_TREE_SIZE) revert TreeTooLarge(size);
        if (index >= size) revert IndexOutsideTree(index, size);
        // Position, on the level that was reached, of the node above the leaf and of the last node.
        uint256 node = index;
        uint256 last = size - 1;
        root = leaf;
        for (uint256 i = 0; i < path.length; ++i) {
            if (last == 0) revert PathTooLong(path.length);
            if (node & 1 == 1) {
                root = nodeHash(path[i], root);
            } else if (node == last) {
                // A last node without a sibling moves up unchanged to the level where it has one on its left.
                while (node & 1 == 0) (node, last) = (node >> 1, last >> 1);
                root = nodeHash(path[i], root);
            } else {
                root = nodeHash(root, path[i]);
            }
            (node, last) = (node >> 1, last >> 1);
        }
        if (last != 0) revert PathTooShort(path.length);
    }

    /// @notice What a batch is anchored as: SHA-256("mrv1/batch" ++ 0x00 ++ size, 8 bytes big-endian ++ root).
    /// @dev An inclusion path binds neither index nor size; the size is bound here.
    function batchCommitment(uint64 size, bytes32 root) internal pure returns (bytes32) {
        return sha256(bytes.concat("mrv1/batch", hex"00", bytes8(size), root));
    }
}
