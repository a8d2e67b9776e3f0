import { resolve } from "node:path";
import type { Dtype } from "../../core/dtype.ts";
import { roundingsBack, roundingsBefore } from "../../export/plan-export.ts";
import { dataBytes } from "../../export/shard-files.ts";
import type { ExportOptions } from "../../export-options.ts";
import type { RunSummary } from "../../stream/run-plan.ts";
import type { CheckedValues } from "./check-values.ts";
import type { ExportSummary } from "./export-summary.ts";
import type { ModelFiles } from "./model-files.ts";
import type { PreparedExport } from "./prepare-export.ts";

/** What is known at the end of an export; of a dry run nothing was checked or written. */
export interface FinishedExport {
	readonly options: ExportOptions;
	readonly prepared: PreparedExport;
	readonly files: ModelFiles;
	readonly values?: CheckedValues | undefined;
	readonly run?: RunSummary | undefined;
	readonly seconds: number;
}

/** What an export did. */
export function summarise(finished: FinishedExport): ExportSummary {
	const { options, prepared, files, values, run, seconds } = finished;
	const { recipes, manifest, content, division, shards, plan } = prepared;
	const { source, map, prefix, leftOut } = recipes;
	const { tensors } = content;
	const written = shards.flatMap((shard) => shard.tensors);
	return {
		checkpoint: resolve(options.directory),
		directory: resolve(options.out),
		repo: source.repo,
		commit: source.commit,
		family: map.family,
		target: map.target,
		prefix,
		recipes: manifest === undefined ? "model" : "manifest",
		dryRun: run === undefined,
		shards: division.by,
		files: shards.map(({ path, bytes, tensors: own }) => ({ path, bytes, tensors: own.length })),
		tensors: written.length,
		dataBytes: written.reduce((sum, tensor) => sum + dataBytes(tensor), 0),
		dtypes: countDtypes(written.map(({ dtype }) => dtype)),
		config: files.configState,
		copied: files.copied.map(({ path }) => path),
		rounded: roundingsBack(tensors),
		roundedBefore: roundingsBefore(tensors),
		dequantised: tensors.filter(({ isDequantised }) => isDequantised).length,
		filled: tensors.filter(({ from }) => from === "model").map(({ name }) => name),
		missing: content.missing,
		leftOut,
		copies: content.copies.map(({ name, kept, copy }) => ({
			name,
			kept: kept.fqn,
			copy: copy.fqn,
		})),
		constants: content.constants.map(({ fqn }) => ({
			fqn,
			changed: values?.changedConstants.has(fqn),
		})),
		warnings: [...files.warnings, ...(values?.warnings ?? [])],
		readBytes: run?.fetchedBytes ?? plan.totals.fetchBytes,
		requests: run?.requests ?? plan.totals.requests,
		memoryBytes: plan.totals.memoryBytes,
		peakStagingBytes: run?.peakStagingBytes ?? 0,
		seconds,
	};
}

function countDtypes(dtypes: readonly Dtype[]): ExportSummary["dtypes"] {
	const counts: { [D in Dtype]?: number } = {};
	for (const dtype of dtypes) counts[dtype] = (counts[dtype] ?? 0) + 1;
	return counts;
}
