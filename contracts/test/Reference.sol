// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title RFC 9162, section 2.1, as it is defined: recursively
/// @dev Shares no code with `RFC9162.sol`.
library Reference {
    /// @notice MTH(D[n]) of section 2.1.1 over 32-byte entries.
    function root(bytes32[] memory entries) internal pure returns (bytes32) {
        return _root(entries, 0, entries.length);
    }

    /// @notice PATH(m, D[n]) of section 2.1.3.1.
    function path(bytes32[] memory entries, uint256 index) internal pure returns (bytes32[] memory) {
        return _path(entries, index, 0, entries.length);
    }

    /// @notice The definition of a batch's commitment.
    function batchCommitment(bytes32[] memory entries) internal pure returns (bytes32) {
        return sha256(abi.encodePacked("mrv1/batch", uint8(0), uint64(entries.length), root(entries)));
    }

    /// @notice As many entries as wanted, from a seed.
    function entriesOf(uint256 seed, uint256 size) internal pure returns (bytes32[] memory entries) {
        entries = new bytes32[](size);
        for (uint256 i = 0; i < size; ++i) {
            entries[i] = keccak256(abi.encode(seed, i));
        }
    }

    function _root(bytes32[] memory entries, uint256 start, uint256 end) private pure returns (bytes32) {
        if (end - start == 1) return sha256(abi.encodePacked(uint8(0), entries[start]));
        uint256 middle = start + _split(end - start);
        return sha256(abi.encodePacked(uint8(1), _root(entries, start, middle), _root(entries, middle, end)));
    }

    function _path(bytes32[] memory entries, uint256 index, uint256 start, uint256 end)
        private
        pure
        returns (bytes32[] memory)
    {
        if (end - start == 1) return new bytes32[](0);
        uint256 middle = start + _split(end - start);
        if (index < middle) {
            return _append(_path(entries, index, start, middle), _root(entries, middle, end));
        }
        return _append(_path(entries, index, middle, end), _root(entries, start, middle));
    }

    /// @dev Largest power of two below `size`.
    function _split(uint256 size) private pure returns (uint256 k) {
        k = 1;
        while (2 * k < size) k *= 2;
    }

    function _append(bytes32[] memory list, bytes32 last) private pure returns (bytes32[] memory longer) {
        longer = new bytes32[](list.length + 1);
        for (uint256 i = 0; i < list.length; ++i) {
            longer[i] = list[i];
        }
        longer[list.length] = last;
    }
}
