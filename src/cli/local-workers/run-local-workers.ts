import { HfStreamDcpError, LOCAL_WORKERS_VARIABLE } from "../../index.ts";
import { plural } from "../format.ts";
import { InterruptedError, watchInterrupts } from "../interrupt.ts";
import type { ChildProgram, ChildResult, CliIo } from "../io.ts";
import type { Progress } from "../progress.ts";
import { type ChildError, type ChildProgress, readChildLine } from "./child-log.ts";
import { addTotals } from "./job-totals.ts";

/** Time between two lines of a worker's log, seconds: as often as the line of all is drawn on a terminal. */
const CHILD_LOG_SECONDS = 0.5;

/** What this process waits longer than its workers, before it ends them, milliseconds. */
const GRACE_MARGIN_MS = 2000;

/** What the workers are started with. */
export interface LocalWorkersOptions {
	readonly count: number;
	/** The command and its flags, the same for all. */
	readonly args: readonly string[];
	readonly progress: Progress;
	/** See `--grace`. */
	readonly graceMs: number;
}

/** How one worker ended. */
export interface LocalWorkerResult extends ChildResult {
	readonly index: number;
	/** What its log says it failed with. */
	readonly error: ChildError | undefined;
}

/** What came of all of them. */
export interface LocalWorkersResult {
	readonly workers: readonly LocalWorkerResult[];
	/** What asked to stop, if something did. */
	readonly stopped: InterruptedError | undefined;
}

/**
 * Starts workers as child processes and waits until all have ended. One that fails or is killed does not end the others, which take over
 * what it left. A signal is passed on.
 *
 * @throws {HfStreamDcpError} `WORKER_FAILED` when none could be started.
 */
export async function runLocalWorkers(
	io: CliIo,
	options: LocalWorkersOptions,
): Promise<LocalWorkersResult> {
	const { progress, count } = options;
	const workers = Array.from({ length: count }, (_, index) => new LocalWorker(io, options, index));
	using interrupts = watchInterrupts(io, {
		graceMs: options.graceMs + GRACE_MARGIN_MS,
		onFirst: (signal) => {
			progress.warn(`stopping ${plural(count, "worker")}; the same command continues from here`);
			for (const worker of workers) worker.program.kill(signal);
		},
		onLast: () => {
			for (const worker of workers) worker.program.kill("SIGKILL");
		},
	});
	const said = new Set<string>();
	for (const worker of workers) {
		worker.onChange = () => progress.show(addTotals(workers));
		worker.say = (message) => {
			// What all find out, one says.
			if (!said.has(message)) progress.warn(message);
			said.add(message);
		};
		worker.onRetry = (event) => progress.onEvent(event);
	}
	const results = await Promise.all(workers.map((worker) => worker.ended()));
	const { reason } = interrupts.signal as { readonly reason: unknown };
	return { workers: results, stopped: reason instanceof InterruptedError ? reason : undefined };
}

class LocalWorker {
	readonly index: number;
	readonly program: ChildProgram;
	progress: ChildProgress | undefined;
	isRunning = true;
	onChange: () => void = () => {};
	onRetry: (event: Parameters<Progress["onEvent"]>[0]) => void = () => {};
	say: (message: string) => void = () => {};
	#error: ChildError | undefined;

	constructor(io: CliIo, { args, count, graceMs }: LocalWorkersOptions, index: number) {
		this.index = index;
		const own = [`--worker=${index}/${count}`, "--log-format=json"];
		const log = [`--log-interval=${CHILD_LOG_SECONDS}`, `--grace=${graceMs / 1000}`];
		const env = { ...io.env, [LOCAL_WORKERS_VARIABLE]: String(count) };
		this.program = io.startChild([...args, ...own, ...log], env, {
			onLine: (line) => this.#hear(line),
		});
	}

	async ended(): Promise<LocalWorkerResult> {
		try {
			const result = await this.program.ended;
			return { ...result, index: this.index, error: this.#error };
		} catch (cause) {
			throw new HfStreamDcpError("WORKER_FAILED", `worker ${this.index} could not be started`, {
				hint: "Give fewer --workers, or raise the limit on processes (ulimit -u).",
				facts: { worker: this.index },
				cause,
			});
		} finally {
			this.isRunning = false;
			this.onChange();
		}
	}

	#hear(line: string): void {
		const heard = readChildLine(line);
		switch (heard.kind) {
			case "progress":
				this.progress = heard.progress;
				this.onChange();
				break;
			case "retry":
				this.onRetry(heard);
				break;
			case "warning":
				this.say(heard.message);
				break;
			case "error":
				this.#error = heard.error;
				break;
			case "text":
				this.say(`worker ${this.index}: ${heard.text}`);
		}
	}
}
