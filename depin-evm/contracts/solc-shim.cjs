#!/usr/bin/env node
// Lets forge call npm's solc, which is JavaScript, as if it were the native compiler: forge asks for the version
// and then pipes one standard JSON document. Nothing is downloaded.
const fs = require("fs");
const solc = require("solc");

// Synchronous and complete: process.stdout.write followed by an exit cuts the answer at the size of the pipe.
function write(text) {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += fs.writeSync(1, bytes, at);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}

const wanted = process.argv.slice(2);
if (wanted.includes("--version")) {
  // forge refuses the Emscripten suffix of the JavaScript build.
  write(`solc, the solidity compiler\nVersion: ${solc.version().replace(/\.Emscripten.*$/, ".Linux.g++")}\n`);
} else if (wanted.includes("--standard-json")) {
  write(solc.compile(fs.readFileSync(0, "utf8")));
} else {
  console.error(`solc-shim: only --version and --standard-json are served, not ${wanted.join(" ")}`);
  process.exit(1);
}
