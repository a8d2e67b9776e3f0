import { type ChildProcessByStdio, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";

/** The built program. */
export const BIN: string = join(import.meta.dirname, "../../dist/bin/hf-stream-dcp.js");

/** How a run of the built program ended. */
export interface CliResult {
	/** `null` when a signal ended it. */
	readonly code: number | null;
	readonly stdout: string;
	readonly stderr: string;
}

/** A run in progress. */
export interface CliRun {
	readonly child: ChildProcessByStdio<null, Readable, Readable>;
	readonly done: Promise<CliResult>;
}

/** Starts the built program. The environment is `env` and nothing else but `PATH`. */
export function startCli(
	args: readonly string[],
	env: { readonly [name: string]: string },
): CliRun {
	if (!existsSync(BIN)) throw new Error(`${BIN} is missing: run "npm run build" first`);
	const child = spawn(process.execPath, [BIN, ...args], {
		env: { PATH: process.env["PATH"], ...env },
		stdio: ["ignore", "pipe", "pipe"],
	});
	let stdout = "";
	let stderr = "";
	child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
	child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
	const done = new Promise<CliResult>((resolve, reject) => {
		child.on("error", reject);
		child.on("close", (code) => resolve({ code, stdout, stderr }));
	});
	return { child, done };
}

/** Runs the built program to its end. */
export function runCli(
	args: readonly string[],
	env: { readonly [name: string]: string },
): Promise<CliResult> {
	return startCli(args, env).done;
}
