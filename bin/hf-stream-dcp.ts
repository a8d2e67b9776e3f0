#!/usr/bin/env node
import { setFlagsFromString } from "node:v8";
import { main } from "../src/cli/main.ts";
import { systemClock } from "../src/cli/io.ts";
import { isLocalWorker, startChild, watchSignals } from "../src/cli/process.ts";
import { EXIT_CODES } from "../src/index.ts";

// A stream makes much garbage that dies at once and little that lives. V8 would let the space for it grow to 48 MiB in every
// thread, which this program promises to others; kept at its first size it is only emptied more often (Node 20.20, V8 11.3).
setFlagsFromString("--semi-space-growth-factor=1");

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
	// `hf-stream-dcp plan … | head` closes the pipe early: that is no failure of ours.
	if (error.code === "EPIPE") process.exit(0);
	process.stderr.write(`error: stdout cannot be written: ${error.message}\n`);
	process.exit(EXIT_CODES.OUTPUT_WRITE);
});
// A log that nobody reads any longer must not cost a conversion.
process.stderr.on("error", () => {});

process.exitCode = await main(process.argv.slice(2), {
	stdout: process.stdout,
	stderr: process.stderr,
	env: process.env,
	clock: systemClock,
	isLocalWorker: isLocalWorker(),
	onInterrupt: watchSignals,
	startChild,
	exitNow: (code) => process.exit(code),
});
