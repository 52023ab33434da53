// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice The cheat codes of forge that these tests use.
interface Vm {
    function assertEq(bool left, bool right, string calldata reason) external pure;
    function assertEq(uint256 left, uint256 right, string calldata reason) external pure;
    function assertEq(address left, address right, string calldata reason) external pure;
    function assertEq(bytes32 left, bytes32 right, string calldata reason) external pure;
    function assertEq(string calldata left, string calldata right, string calldata reason) external pure;
    function assertTrue(bool condition, string calldata reason) external pure;
    function assume(bool condition) external pure;
    function deployCode(string calldata artifact, bytes calldata arguments) external returns (address deployed);
    function envOr(string calldata name, string calldata otherwise) external view returns (string memory value);
    function expectEmit(address emitter) external;
    function expectRevert(bytes calldata revertData) external;
    function getRecordedLogs() external returns (Log[] memory logs);
    function load(address target, bytes32 slot) external view returns (bytes32 word);
    function prank(address sender) external;
    function recordLogs() external;
    function roll(uint256 blockNumber) external;
    function snapshotGasLastCall(string calldata group, string calldata name) external returns (uint256 gas);
    function warp(uint256 timestamp) external;

    struct Log {
        bytes32[] topics;
        bytes data;
        address emitter;
    }
}

/// @notice What every test needs: cheat codes, accounts, and a clock.
abstract contract Test {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    address internal constant OWNER = address(0xA11CE);
    address internal constant THIEF = address(0xBAD);

    function _bound(uint256 value, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + value % (high - low + 1);
    }

    /// @dev Deploys a contract by its name, so that a mutated one can take its place: see mutations.toml.
    function _deploy(string memory name, bytes memory arguments) internal returns (address) {
        string memory folder = vm.envOr("MRV_MUTATED", "");
        string memory artifact = string.concat(name, ".sol");
        if (bytes(folder).length != 0) artifact = string.concat(folder, "/", artifact, "/", name, ".json");
        return vm.deployCode(artifact, arguments);
    }

    /// @dev Move on to a later block.
    function _wait(uint256 seconds_) internal {
        vm.warp(block.timestamp + seconds_);
        vm.roll(block.number + 1);
    }
}
