#!/usr/bin/env node
import { main } from "../src/cli/main.ts";
import { systemClock } from "../src/cli/io.ts";
import { EXIT_CODES } from "../src/index.ts";

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
	onInterrupt(listener) {
		process.on("SIGINT", listener);
		process.on("SIGTERM", listener);
		return () => {
			process.off("SIGINT", listener);
			process.off("SIGTERM", listener);
		};
	},
	exitNow: (code) => process.exit(code),
});
