// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {BatchVerifier} from "../BatchVerifier.sol";
import {IBatchVerifier} from "../IBatchVerifier.sol";
import {MLProvenance} from "../MLProvenance.sol";
import {MRVRegistry} from "../MRVRegistry.sol";
import {Test} from "./Test.sol";

/// @notice Gas of each call. In the profile `gas` each is a transaction of its own, and snapshots/ is written.
contract GasTest is Test {
    string private constant ID = "MRV-fc25ba52-f439-4834-be2b-2dbae1e03437";

    MLProvenance private provenance;
    MRVRegistry private registry;
    BatchVerifier private verifier;

    function setUp() public {
        provenance = new MLProvenance();
        registry = new MRVRegistry();
        verifier = new BatchVerifier(provenance);
        _wait(1_700_000_000);
    }

    function test_StoreHash() public {
        uint16[5] memory lengths = [0, 31, 64, 256, 1024];
        for (uint256 i = 0; i < lengths.length; ++i) {
            bytes32 root = keccak256(abi.encode("root", i));
            _store(OWNER, root, lengths[i], string.concat("first, label of ", _decimal(lengths[i]), " B"));
        }
        bytes32 label64 = keccak256(abi.encode("root", 2));
        _store(OWNER, label64, 64, "repeat, label of 64 B");
        _store(THIEF, label64, 64, "another account, label of 64 B");
    }

    function test_RegisterMRV() public {
        bytes32 hash = keccak256("hash");
        _register(OWNER, hash, "first, id of 40 B");
        _register(OWNER, hash, "repeat, id of 40 B");
        _register(THIEF, hash, "another account, same hash, id of 40 B");
        _register(address(0xB0B), keccak256("other"), "another account, other hash, id of 40 B");
    }

    function test_QueryMRV() public {
        registry.registerMRV(ID, keccak256("hash"));
        registry.queryMRV(ID);
        vm.snapshotGasLastCall("MRVRegistry", "queryMRV: id of 40 B");
    }

    function test_VerifyMember() public {
        uint8[6] memory depths = [0, 7, 10, 14, 20, 40];
        for (uint256 i = 0; i < depths.length; ++i) {
            bytes32[] memory path = new bytes32[](depths[i]);
            for (uint256 level = 0; level < path.length; ++level) {
                path[level] = keccak256(abi.encode(level));
            }
            uint64 size = uint64(1) << depths[i];
            uint64 index = uint64(0x5555555555) & (size - 1);
            bytes32 member = keccak256("member");
            bytes32 commitment = verifier.commitmentOf(member, index, size, path);
            provenance.storeHash(commitment, "");
            // As a transaction, although nobody has to send one to read: the cost includes sending the proof.
            (bool success, bytes memory answer) =
                address(verifier).call(abi.encodeCall(IBatchVerifier.verifyMember, (member, index, size, path)));
            vm.snapshotGasLastCall(
                "BatchVerifier", string.concat("verifyMember: batch of 2^", _decimal(depths[i]))
            );
            vm.assertTrue(success && abi.decode(answer, (bool)), "stored");
        }
    }

    function _store(address sender, bytes32 root, uint256 length, string memory name) private {
        bytes memory label = new bytes(length);
        for (uint256 i = 0; i < length; ++i) {
            label[i] = "x";
        }
        vm.prank(sender);
        provenance.storeHash(root, string(label));
        vm.snapshotGasLastCall("MLProvenance", string.concat("storeHash: ", name));
    }

    function _register(address sender, bytes32 hash, string memory name) private {
        vm.prank(sender);
        registry.registerMRV(ID, hash);
        vm.snapshotGasLastCall("MRVRegistry", string.concat("registerMRV: ", name));
    }

    function _decimal(uint256 value) private pure returns (string memory) {
        if (value < 10) return string(abi.encodePacked(bytes1(uint8(48 + value))));
        return string.concat(_decimal(value / 10), _decimal(value % 10));
    }
}
