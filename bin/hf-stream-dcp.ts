#!/usr/bin/env node
import { main } from "../src/cli/main.ts";
import { systemClock } from "../src/cli/io.ts";

// `hf-stream-dcp plan … | head` closes the pipe early: that is no failure of ours.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
	if (error.code !== "EPIPE") throw error;
	process.exit(0);
});

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
