// SPDX-License-Identifier: MIT

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

import { type Plugin, defineConfig } from "vite";

const here = import.meta.dirname;
const verifier = resolve(here, "../scripts/verify_bundle.mjs");
// The two modules of Node.js that it imports, for browsers.
const STAND_INS: Record<string, string> = {
  "node:buffer": resolve(here, "src/platform/buffer.ts"),
  "node:crypto": resolve(here, "src/platform/crypto.ts"),
};
const COMMAND_LINE = "// --- the command line ---";

/** Gives the name `verify-bundle` to the part of scripts/verify_bundle.mjs above its command line. */
function verifyBundle(): Plugin {
  return {
    name: "verify-bundle",
    enforce: "pre",
    resolveId(id, importer) {
      if (id === "verify-bundle") return verifier;
      return importer === verifier ? (STAND_INS[id] ?? null) : null;
    },
    load(id) {
      if (id !== verifier) return null;
      const [pure, ...rest] = readFileSync(verifier, "utf8").split(COMMAND_LINE);
      if (rest.length !== 1) throw new Error(`${verifier} does not have its command line once`);
      return pure!.replace(/^#!.*/, "");
    },
  };
}

/** What the page may do: run its own two texts, and ask nodes. `'none'` for everything else, scripts from markup included. */
function policy(script: string, style: string): string {
  const hash = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
  return [
    "default-src 'none'", `script-src ${hash(script)}`, `style-src ${hash(style)}`, "connect-src http: https:", "img-src data:",
    "base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'",
  ].join("; ");
}

/** The licences of what others wrote and the page contains, as their terms ask. */
function licences(): string {
  const texts = ["@noble/curves", "@noble/hashes"].map((name) => {
    const text = readFileSync(resolve(here, "node_modules", name, "LICENSE"), "utf8").trim();
    if (text.includes("--")) throw new Error(`the licence of ${name} would end a comment`);
    return `${name}\n\n${text}`;
  });
  return `<!--\nThis page contains parts of:\n\n${texts.join("\n\n")}\n-->`;
}

/** Puts script and style into the page, so that it is one file: it opens from a disk, and its hash says all of it. */
function oneFile(): Plugin {
  return {
    name: "one-file",
    apply: "build",
    enforce: "post",
    generateBundle(_options, bundle) {
      const files = Object.values(bundle);
      const page = files.find((file) => file.fileName === "index.html");
      const script = files.find((file) => file.type === "chunk");
      const style = files.find((file) => file.fileName.endsWith(".css"));
      if (files.length !== 3 || page?.type !== "asset" || script?.type !== "chunk" || style?.type !== "asset") {
        throw new Error(`the build made ${files.map((file) => file.fileName).join(", ")}`);
      }
      const [code, css] = [script.code.trim(), String(style.source).trim()];
      if (/<\/script|<!--/i.test(code) || /<\/style/i.test(css)) throw new Error("script or style would end too early");
      const html = String(page.source)
        .replace(/\s*<script type="module"[^>]*><\/script>/, "")
        .replace(/\s*<link rel="stylesheet"[^>]*>/, "")
        .replace("<!-- policy -->", () => `<meta http-equiv="Content-Security-Policy" content="${policy(code, css)}">`)
        .replace("</head>", () => `  <style>${css}</style>\n    ${licences()}\n  </head>`)
        .replace("</body>", () => `  <script type="module">${code}</script>\n  </body>`);
      page.source = html;
      delete bundle[script.fileName];
      delete bundle[style.fileName];
    },
  };
}

export default defineConfig({
  base: "./",
  plugins: [verifyBundle(), oneFile()],
  build: {
    outDir: "../mrv_service/static",
    emptyOutDir: true,
    modulePreload: false,
    target: "es2022",
  },
});
