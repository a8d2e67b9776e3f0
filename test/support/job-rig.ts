import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Manifest, MANIFEST_NAME } from "../../src/manifest/manifest.ts";
import { parseManifest } from "../../src/manifest/read.ts";
import { sameInEveryRun } from "./check-manifest.ts";

/** A mesh of 8 ranks, and the smallest memory, which makes the most tiles: a job has something to lose at every moment. */
export const BUSY_ARGS: readonly string[] = [
	"--dp-shard=4",
	"--tp=2",
	"--ep=4",
	"--memory=16MiB",
	"--threads=1",
];

/** A point at which a worker is to be killed, as `crash-points.mjs` understands it. */
export interface CrashPoint {
	readonly point: string;
	readonly nth: number;
	readonly when: "before" | "middle" | "after";
	/** Path of a file: whoever makes it is the one to die. */
	readonly token: string;
}

/** Which of how many workers, and how it is started. */
export interface WorkerOptions {
	readonly index: number;
	readonly count: number;
	/** Of the checkpoint. */
	readonly out: string;
	/** Everything else on the command line. */
	readonly args: readonly string[];
	readonly env: { readonly [name: string]: string };
	/** The program's executable. */
	readonly program: string;
	readonly crash?: CrashPoint | undefined;
	/** A seed: what was not made durable is lost with it, more or less of it. */
	readonly power?: number | undefined;
	/** Where to write how often each crash point was met. */
	readonly counts?: string | undefined;
}

/** How a worker ended. */
export interface WorkerEnd {
	readonly index: number;
	/** Exit code; `null` when a signal ended it. */
	readonly code: number | null;
	readonly signal: string | null;
	readonly stdout: string;
	readonly stderr: string;
}

/** A worker that runs. */
export interface WorkerProcess {
	readonly index: number;
	readonly child: ChildProcess;
	readonly ended: Promise<WorkerEnd>;
}

const PRELOAD: string = join(import.meta.dirname, "crash-points.mjs");

/** Starts one worker of a job as a process of its own. */
export function startWorker(options: WorkerOptions): WorkerProcess {
	const { index, count, out, args, program, crash, power, counts } = options;
	const isWatched = crash !== undefined || counts !== undefined;
	const child = spawn(
		process.execPath,
		[
			...(isWatched ? ["--import", PRELOAD] : []),
			program,
			...args,
			"--out",
			out,
			"--worker",
			`${index}/${count}`,
		],
		{
			env: {
				PATH: process.env["PATH"],
				...options.env,
				...(isWatched ? { CRASH_POINTS: JSON.stringify({ root: out, crash, power, counts }) } : {}),
			},
			stdio: ["ignore", "pipe", "pipe"],
		},
	);
	return { index, child, ended: endOf(index, child) };
}

/** Resolves when a process that was started for worker `index` has ended and everything it printed was read. */
export function endOf(index: number, child: ChildProcess): Promise<WorkerEnd> {
	let stdout = "";
	let stderr = "";
	child.stdout?.setEncoding("utf8").on("data", (text: string) => (stdout += text));
	child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
	return new Promise((resolve, reject) => {
		child.on("error", reject);
		child.on("close", (code, signal) => resolve({ index, code, signal, stdout, stderr }));
	});
}

/**
 * SHA-256 of `.metadata`, of every data file in `directory`, and of what the manifest says of them, by name: what a checkpoint is made
 * of, and no two runs of a command may differ in.
 */
export function fingerprint(directory: string): { readonly [name: string]: string } {
	const names = readdirSync(directory).filter((name) => /^\.metadata$|\.distcp$/.test(name));
	return Object.fromEntries([
		...names.toSorted().map((name) => [name, sha256(readFileSync(join(directory, name)))]),
		[MANIFEST_NAME, sha256(JSON.stringify(sameInEveryRun(manifestIn(directory))))],
	]) as { readonly [name: string]: string };
}

function manifestIn(directory: string): Manifest {
	const path = join(directory, MANIFEST_NAME);
	return parseManifest(readFileSync(path), path);
}

function sha256(bytes: Uint8Array | string): string {
	return createHash("sha256").update(bytes).digest("hex");
}
