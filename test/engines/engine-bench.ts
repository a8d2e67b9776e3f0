import { execFile } from "node:child_process";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { expect } from "vitest";
import { Resources, temporaryDirectory } from "../oracle/conversion.ts";
import { LAYOUT_CASES, layoutFlags, layoutPath } from "../oracle/layouts.ts";
import { Oracle } from "../oracle/oracle.ts";
import { BIN } from "../support/run-cli.ts";
import { type HeldHub, openHeldHub } from "./held-hub.ts";

/** Experts, their transposes and columns: shares of a few megabytes each, for eight ranks. */
const CASE = LAYOUT_CASES.find(
	({ model, setting }) => model === "llama4" && setting === "FSDP×TP×EP",
)!;

/** Requests of every worker that the Hub answers before it falls silent: some entries are finished then, and no share is done. */
export const HELD_AFTER = 3;

/** Files of `deploy/`, as they are. */
export function deployFile(name: string): string {
	return join(import.meta.dirname, "../../deploy", name);
}

/** What `summary.json` says. */
export interface JobSummary {
	readonly shares: number;
	readonly takeovers: number;
	readonly workers: readonly {
		readonly worker: number;
		readonly shares: readonly number[];
		readonly entries: number;
		readonly resumedEntries: number;
		readonly fetchedBytes: number;
	}[];
}

/** How a command ended. */
export interface CommandResult {
	readonly code: number;
	/** stdout and stderr. */
	readonly output: string;
}

/**
 * Where engines run the built program: a model that `transformers` saved, a Hub that can be stopped, `hf-stream-dcp` in the PATH, and torch
 * to load what comes out.
 */
export class EngineBench implements AsyncDisposable {
	readonly #resources = new Resources();
	readonly #python: string;
	#oracle: Oracle | undefined;
	#expected = "";
	#count = 0;
	/** A temporary folder. */
	folder = "";
	hub!: HeldHub;
	/** The environment of a user who has installed the program, torchrun and nothing else. */
	env: { readonly [name: string]: string } = {};

	private constructor(python: string) {
		this.#python = python;
	}

	/** @param python - Has what the oracles need. */
	static async open(python: string): Promise<EngineBench> {
		const bench = new EngineBench(python);
		try {
			await bench.#open();
			return bench;
		} catch (error) {
			await bench[Symbol.asyncDispose]();
			throw error;
		}
	}

	async #open(): Promise<void> {
		this.folder = this.#resources.use(await temporaryDirectory()).path;
		const oracle = this.#resources.use(new Oracle(this.#python));
		this.#oracle = oracle;
		const models = join(this.folder, "models");
		await oracle.ask({ kind: "models", names: [CASE.model], directory: models });
		const model = join(models, CASE.model);
		this.#expected = join(this.folder, "expected.safetensors");
		await oracle.ask({ kind: "expected", model, names: CASE.names, file: this.#expected });
		const repos = [{ id: `tests/${CASE.model}`, directory: model }];
		this.hub = this.#resources.use(await openHeldHub(repos));
		const programs = join(this.folder, "bin");
		await mkdir(programs);
		const program = join(programs, "hf-stream-dcp");
		await writeFile(program, `#!/bin/sh\nexec '${process.execPath}' '${BIN}' "$@"\n`);
		await chmod(program, 0o755);
		this.env = {
			PATH: [programs, dirname(this.#python), process.env["PATH"]].join(delimiter),
			HOME: this.folder,
			HF_ENDPOINT: this.hub.endpoint,
			HF_HOME: join(this.folder, "home"),
			// torchrun warns otherwise.
			OMP_NUM_THREADS: "1",
		};
	}

	/** A directory for a checkpoint, not there yet. */
	newCheckpoint(): string {
		return join(this.folder, `checkpoint-${this.#count++}`);
	}

	/** Arguments of a conversion that is many small requests for every worker. A short lease has workers look at each other oftener. */
	argumentsFor(
		checkpoint: string,
		{ leaseSeconds = 20 }: { readonly leaseSeconds?: number } = {},
	): readonly string[] {
		const flags = `--out ${checkpoint} --target ${CASE.target} --threads 1 --memory 16MiB --connections 1 --lease ${leaseSeconds} --grace 2`;
		return [`tests/${CASE.model}`, ...flags.split(" "), ...layoutFlags(CASE.layout)];
	}

	/** Writes a script for sbatch, and returns its path. */
	async script(name: string, command: string): Promise<string> {
		const path = join(this.folder, name);
		await writeFile(path, `#!/bin/bash\n${command}\n`);
		return path;
	}

	/** Runs a command to its end, in {@link env}. */
	run(
		command: string,
		args: readonly string[],
		env: { readonly [name: string]: string } = {},
	): Promise<CommandResult> {
		return new Promise((resolve) => {
			const child = execFile(
				command,
				args,
				{ env: { ...this.env, ...env }, cwd: this.folder },
				(_error, stdout, stderr) => {
					resolve({ code: child.exitCode ?? -1, output: stdout + stderr });
				},
			);
		});
	}

	/** What the job in `checkpoint` did. */
	async summaryOf(checkpoint: string): Promise<JobSummary> {
		return JSON.parse(await readFile(join(checkpoint, "summary.json"), "utf8")) as JobSummary;
	}

	/** Real torch loads it into DTensors on every rank, and every bit is as `transformers` saved it. */
	async expectLoads(checkpoint: string): Promise<void> {
		const report = await this.#oracle!.ask({
			kind: "load",
			layout: layoutPath(CASE.layout),
			checkpoint,
			expected: this.#expected,
		});
		expect(report.stored).toEqual(report.demanded);
		expect(report.ranks).toHaveLength(8);
		expect(report.ranks.map(({ mismatched }) => mismatched)).toEqual(report.ranks.map(() => []));
	}

	[Symbol.asyncDispose](): Promise<void> {
		return this.#resources.dispose();
	}
}
