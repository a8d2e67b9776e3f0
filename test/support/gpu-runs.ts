import { readdirSync, readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect } from "vitest";
import type { Dtype } from "../../src/core/dtype.ts";
import type { ConvertSummary } from "../../src/index.ts";
import type { ShareSummary } from "../../src/threads/run-share.ts";
import type { SmallModel } from "./model-sources.ts";
import { writeFiles } from "./open-source-model.ts";
import { tinyFiles, type TinyModel, tinyTensor } from "./quantised-models.ts";
import { type CliResult, startCli } from "./run-cli.ts";

const PRELOAD: string = pathToFileURL(join(import.meta.dirname, "gpu-faults.mjs")).href;

/** What `gpu-faults.mjs` does at which batch. */
export interface GpuFault {
	readonly kind: "kill" | "stop" | "destroy" | "oom" | "drop" | "hang" | "flip";
	/** Of all batches of a process, those of the self-test included; from 1. */
	readonly nth: number;
	/** Path of a file: whoever makes it is the one to fail. @default every process fails */
	readonly token?: string;
	/** All others fail, and whoever makes it does not. */
	readonly isLater?: boolean;
}

/** What a process asked of its GPU, in order. */
export interface GpuLog {
	readonly pid: number;
	readonly events: readonly GpuEvent[];
}

/** See `gpu-faults.mjs`. */
export interface GpuEvent {
	readonly buffer?: number;
	readonly usage?: number;
	readonly batch?: number;
	readonly rss?: number;
	readonly fault?: string;
}

/** What a run of the built program with a watched GPU came to. */
export interface GpuRun extends CliResult {
	/** Of every process that opened a device. */
	readonly logs: readonly GpuLog[];
}

/** Runs the built program on a local model. */
export async function runOnGpu(options: {
	readonly args: readonly string[];
	readonly folder: string;
	readonly fault?: GpuFault | undefined;
	/** Whether what is asked of the GPU is written down. A fault always is. @default false */
	readonly isWatched?: boolean | undefined;
}): Promise<GpuRun> {
	const { args, folder, fault, isWatched = fault !== undefined } = options;
	const log = join(folder, `gpu-log-${runs++}`);
	await mkdir(log);
	const env = isWatched
		? { NODE_OPTIONS: `--import=${PRELOAD}`, GPU_FAULTS: JSON.stringify({ log, fault }) }
		: {};
	const result = await startCli([...args, "--log-format=json"], {
		...env,
		VK_DRIVER_FILES: process.env["VK_DRIVER_FILES"] ?? "",
		VK_ICD_FILENAMES: process.env["VK_ICD_FILENAMES"] ?? "",
		HF_HOME: join(folder, "home"),
	}).done;
	const logs = readdirSync(log).map((name) => ({
		pid: Number.parseInt(name, 10),
		events: readFileSync(join(log, name), "utf8")
			.split("\n")
			.filter((line) => line !== "")
			.map((line) => JSON.parse(line) as GpuEvent),
	}));
	return { ...result, logs };
}

let runs = 0;

/** A model with the names and shapes of `model`, and values of its own. */
export function withValues(model: SmallModel, dtype: Dtype): TinyModel {
	return {
		config: model.config,
		tensors: Object.entries(model.shapes).map(([name, shape]) => tinyTensor(name, dtype, shape)),
	};
}

/** `model` with every size multiplied, counts of layers, heads and experts aside. */
export function enlarged({ config, shapes }: SmallModel, factor: number): SmallModel {
	const sizes = ["vocab_size", "hidden_size", "head_dim", "intermediate_size"];
	const numbers = sizes.map((name) => [name, Number(config[name]) * factor]);
	return {
		config: { ...config, ...(Object.fromEntries(numbers) as object) },
		shapes: Object.fromEntries(
			Object.entries(shapes).map(([name, shape]) => [name, shape.map((size) => size * factor)]),
		),
	};
}

/** Writes a model as a repository on this disk. */
export async function writeModel(directory: string, model: TinyModel): Promise<string> {
	await writeFiles(directory, tinyFiles(model));
	return directory;
}

/** A line of the log, as `docs/cli.md` has it. */
export interface LogLine {
	readonly kind: string;
	readonly code?: string;
	readonly message?: string;
	readonly exitCode?: number;
}

/** What was logged; lines that are not ours are not allowed. */
export function linesOf({ stderr }: CliResult): readonly LogLine[] {
	return stderr
		.split("\n")
		.filter((line) => line !== "")
		.map((line) => JSON.parse(line) as LogLine);
}

/** The warnings, in order. */
export function warningsOf(result: CliResult): readonly string[] {
	return linesOf(result).flatMap(({ kind, message = "" }) => (kind === "warning" ? [message] : []));
}

/** What each worker of a run says that must have succeeded. */
export function summariesOf(result: CliResult): readonly ConvertSummary[] {
	expect(linesOf(result).filter(({ kind }) => kind === "error")).toEqual([]);
	expect(result.code).toBe(0);
	const summary = JSON.parse(result.stdout) as ConvertSummary & {
		readonly workers?: readonly ConvertSummary[];
	};
	return summary.workers ?? [summary];
}

/** What the threads did, share by share. */
export function threadsOf(result: CliResult): readonly ShareSummary[] {
	return summariesOf(result).flatMap(({ shares }) => shares.flatMap(({ threads }) => threads));
}
