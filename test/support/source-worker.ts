import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { JobSourceOptions } from "../../src/job/source-store.ts";

const PROGRAM = join(import.meta.dirname, "source-child.mjs");

/** What a worker says, one JSON object each. */
export type WorkerMessage = { readonly kind: string } & { readonly [name: string]: unknown };

/** What a worker process is given: plain data. */
export type WorkerSettings = Omit<JobSourceOptions, "signal" | "onEvent" | "timers"> & {
	/** Between two files that it reads, milliseconds. */
	readonly pauseMs?: number;
};

/** A process that opens a job's source and reads from it. */
export interface SourceWorker extends AsyncDisposable {
	readonly child: ChildProcess;
	readonly messages: readonly WorkerMessage[];
	/** `open`, `read FILE…`, `end`. */
	tell(command: string): void;
	/** The first message of one of these kinds, come or to come. Rejects when the process ends without one. */
	hear(...kinds: readonly string[]): Promise<WorkerMessage>;
}

/** Starts a worker. It does nothing before it is told to. */
export function startSourceWorker(settings: WorkerSettings): SourceWorker {
	const child = spawn(process.execPath, [PROGRAM, JSON.stringify(settings)], {
		stdio: ["pipe", "pipe", "inherit"],
	});
	const messages: WorkerMessage[] = [];
	const waiting = new Set<() => void>();
	let hasEnded = false;
	const wake = (): void => waiting.forEach((look) => look());
	createInterface({ input: child.stdout }).on("line", (line) => {
		messages.push(JSON.parse(line) as WorkerMessage);
		wake();
	});
	const ended = new Promise<void>((resolve) => {
		child.on("close", () => {
			hasEnded = true;
			wake();
			resolve();
		});
	});
	return {
		child,
		messages,
		tell: (command) => child.stdin.write(`${command}\n`),
		hear: (...kinds) =>
			new Promise((resolve, reject) => {
				const look = (): void => {
					const found = messages.find(({ kind }) => kinds.includes(kind));
					if (found === undefined && !hasEnded) return;
					waiting.delete(look);
					if (found !== undefined) resolve(found);
					else reject(new Error(`the worker ended without ${kinds.join(" or ")}`));
				};
				waiting.add(look);
				look();
			}),
		async [Symbol.asyncDispose]() {
			child.kill("SIGKILL");
			await ended;
		},
	};
}
