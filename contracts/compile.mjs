// SPDX-License-Identifier: MIT
// Compile every contract of this folder to mrv_backends_eth/compiled/, the same bytes on every machine.
//
//   node contracts/compile.mjs            write the files
//   node contracts/compile.mjs --print    print them as one JSON object, for the test that compares
//
// The compiler is the npm package "solc", pinned in tests/node/package-lock.json (`make node-programs` installs it).
// No metadata hash is appended, because it would change with every comment.

import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const CONTRACTS = ["BatchVerifier", "MLProvenance", "MRVRegistry"];
const here = dirname(fileURLToPath(import.meta.url));
const project = dirname(here);
const output = join(project, "mrv_backends_eth", "compiled");
const solc = createRequire(join(project, "tests", "node", "package.json"))("solc");

const settings = {
  evmVersion: "paris", // runs on every chain in use, those without PUSH0 included
  metadata: { appendCBOR: false, bytecodeHash: "none" },
  optimizer: { enabled: true, runs: 200 },
};
const wanted = ["abi", "evm.bytecode.object", "evm.deployedBytecode", "storageLayout"];

function compile() {
  const files = readdirSync(here).filter((name) => name.endsWith(".sol")).sort();
  const sources = Object.fromEntries(files.map((name) => [name, { content: readFileSync(join(here, name), "utf8") }]));
  const input = { language: "Solidity", sources, settings: { ...settings, outputSelection: { "*": { "*": wanted } } } };
  const result = JSON.parse(solc.compile(JSON.stringify(input)));
  const complaints = result.errors ?? [];
  if (complaints.length > 0) throw new Error(complaints.map((each) => each.formattedMessage).join("\n"));
  return result.contracts;
}

function artifact(name, contract) {
  // The compiler numbers syntax nodes over all sources; those numbers would change with an unrelated file.
  const unnumbered = (type) => type.replace(/\)\d+_storage/g, ")_storage");
  const slots = contract.storageLayout.storage.map(({ label, slot, type }) => ({ label, slot, type: unnumbered(type) }));
  // Where the constructor writes into the deployed code: there the artifact has 32 zero bytes.
  const written = Object.values(contract.evm.deployedBytecode.immutableReferences).flat();
  const immutables = written.map(({ start }) => start).sort((left, right) => left - right);
  return {
    abi: contract.abi,
    bytecode: "0x" + contract.evm.bytecode.object,
    compiler: solc.version(),
    contractName: name,
    deployedBytecode: "0x" + contract.evm.deployedBytecode.object,
    ...(immutables.length > 0 && { immutableOffsets: immutables }),
    settings,
    storageLayout: slots,
  };
}

const contracts = compile();
const artifacts = Object.fromEntries(
  CONTRACTS.map((name) => [`${name}.json`, JSON.stringify(artifact(name, contracts[`${name}.sol`][name]), null, 1) + "\n"]),
);
if (process.argv.includes("--print")) {
  process.stdout.write(JSON.stringify(artifacts));
} else {
  mkdirSync(output, { recursive: true });
  for (const [name, text] of Object.entries(artifacts)) writeFileSync(join(output, name), text);
}
