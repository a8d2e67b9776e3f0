import { realpath } from "node:fs/promises";
import { join, resolve } from "node:path";
import { HfStreamDcpError } from "../../core/errors.ts";
import { type EventListener, emitTo } from "../../core/events.ts";
import { DataFiles } from "../../dcp/data-files.ts";
import { defaultMaxOpenFiles } from "../../dcp/open-file-limit.ts";
import { openOutputFolder, type OutputFolder } from "../../export/output-folder.ts";
import { encodeIndex, indexPath } from "../../export/shard-files.ts";
import { createShardWriter } from "../../export/shard-writer.ts";
import type { ExportOptions } from "../../export-options.ts";
import { replaceFile } from "../../files/replace-file.ts";
import { createCpuBackend } from "../../stream/cpu/backend.ts";
import { type RunSummary, runPlan } from "../../stream/run-plan.ts";
import { checkValues, type CheckedValues } from "./check-values.ts";
import type { ExportSummary } from "./export-summary.ts";
import { type ModelFiles, readModelFiles } from "./model-files.ts";
import { type PreparedExport, prepareExport } from "./prepare-export.ts";
import { summarise } from "./summarise.ts";

/**
 * Makes a model of a checkpoint, as the Hub has it: safetensors files, their index, `config.json` and what else belongs to it. The way back
 * of `convert`, for what it wrote and for what a trainer saved later, in any layout. Streams; memory is bounded.
 *
 * The files appear in `options.out` when all of them are whole. An export that fails or is stopped leaves nothing there, and begins anew
 * when it is called again.
 *
 * @throws {HfStreamDcpError} see `docs/errors.md`. @throws `signal.reason` when aborted.
 */
export async function exportCheckpoint(input: ExportOptions): Promise<ExportSummary> {
	const started = performance.now();
	const options = { ...input, onEvent: emitTo(input.onEvent) };
	const { onEvent } = options;
	await refuseOwnDirectory(options);
	onEvent({ kind: "phase", phase: "plan" });
	await using prepared = await prepareExport(options);
	const files = await readModelFiles(prepared, options);
	for (const message of files.warnings) onEvent({ kind: "warning", message });
	const done = options.dryRun ? undefined : await write(prepared, files, options, onEvent);
	return summarise({
		options,
		prepared,
		files,
		...done,
		seconds: (performance.now() - started) / 1000,
	});
}

/** @throws {HfStreamDcpError} `OPTIONS_INVALID` */
async function refuseOwnDirectory({ directory, out }: ExportOptions): Promise<void> {
	const [from, to] = await Promise.all(
		[directory, out].map((path) => realpath(resolve(path)).catch(() => resolve(path))),
	);
	if (from !== to) return;
	throw new HfStreamDcpError(
		"OPTIONS_INVALID",
		`${out} is both the checkpoint and the directory of the model`,
		{ hint: "Choose another output directory.", facts: { directory: to } },
	);
}

/** What was done beside planning. */
interface DoneExport {
	readonly values: CheckedValues;
	readonly run: RunSummary;
}

async function write(
	prepared: PreparedExport,
	files: ModelFiles,
	options: ExportOptions,
	onEvent: EventListener,
): Promise<DoneExport> {
	const { plan, shards, input, names } = prepared;
	const { signal } = options;
	await using backend = createCpuBackend();
	const values = await checkValues(prepared, backend, signal);
	for (const message of values.warnings) onEvent({ kind: "warning", message });
	const index = encodeIndex(shards, names);
	const small = [
		...files.copied,
		...(files.config === undefined ? [] : [files.config]),
		...(index === undefined ? [] : [{ path: indexPath(names), bytes: index }]),
	];
	await using folder = await openOutputFolder({
		directory: resolve(options.out),
		folders: [...shards, ...small].map(({ path }) => folderOf(path)),
		overwrite: options.overwrite,
		bytes: [...shards.map(({ bytes }) => bytes), ...small.map(({ bytes }) => bytes.length)].reduce(
			(sum, bytes) => sum + bytes,
			0,
		),
	});
	onEvent({ kind: "phase", phase: "stream" });
	const { fetchBytes: fetched, writeBytes } = plan.totals;
	onEvent({ kind: "planned", fetchBytes: fetched, writeBytes, entries: plan.entries.length });
	const run = await streamInto(folder);
	onEvent({ kind: "phase", phase: "commit" });
	for (const { path, bytes } of small) await replaceFile(join(folder.path, path), bytes);
	signal?.throwIfAborted();
	const weights = shards.map(({ path }) => path);
	const others = small.map(({ path }) => path);
	// A loader takes a single file for the model without an index: it is then what comes last.
	await folder.publish(index === undefined ? [...others, ...weights] : [...weights, ...others]);
	return { values, run };

	async function streamInto({ path: directory }: OutputFolder): Promise<RunSummary> {
		await using data = new DataFiles({
			directory,
			files: shards.map(({ path, bytes }) => ({ name: path, bytes })),
			maxOpen: defaultMaxOpenFiles(),
			mode: "buffered",
		});
		await using sink = createShardWriter(plan, shards, data);
		const done = await runPlan({ plan, source: input.bytes, backend, sink, signal, onEvent });
		await sink.complete();
		return done;
	}
}

function folderOf(path: string): string {
	return path.slice(0, path.lastIndexOf("/") + 1);
}
