import type { JobSummary } from "../core/job-summary.ts";
import type { Manifest } from "../manifest/manifest.ts";
import type { ReadDirectory } from "./checkpoint-report.ts";
import { dataBytesOf } from "./data-bytes.ts";
import {
	placeOfFile,
	type ReportData,
	type ReportMesh,
	type ReportShare,
	type ReportTimeline,
	type ReportTotals,
} from "./report-data.ts";
import { sourceFilesOf } from "./source-files.ts";

/** What a report of a finished conversion is made of. */
export interface ManifestReportInput {
	/** Version of the program that makes the report. */
	readonly tool: string;
	readonly manifest: Manifest;
	readonly meshes: readonly ReportMesh[];
	/** What of the directory was found. */
	readonly found: ReadDirectory;
}

/** A report of a checkpoint that this program wrote: everything that its manifest says. Pure. */
export function reportFromManifest(input: ManifestReportInput): ReportData {
	const { tool, manifest, meshes, found } = input;
	const { summary, source } = manifest;
	const own = ownFilesOf(manifest);
	const missing = new Set(
		found.files.flatMap(({ name, isMissing }) => (isMissing && own.has(name) ? [name] : [])),
	);
	const elsewhere = new Set(
		found.files.flatMap(({ name }) =>
			own.has(name) ? [] : [`${JSON.stringify(name)} is missing`],
		),
	);
	const timelines = timelinesOf(summary);
	return {
		format: "hf-stream-dcp report 1",
		kind: "conversion",
		tool,
		origin: {
			model: source.repo,
			commit: source.commit,
			directory: found.directory,
			family: manifest.family,
			target: manifest.target,
			layout: manifest.layout.description,
			writtenBy: manifest.tool,
			planId: manifest.planId,
			command: manifest.command,
			begun: summary.begun,
			ended: summary.ended,
			seconds: summary.seconds,
		},
		worldSize: manifest.layout.worldSize,
		meshes,
		holdersKnownBy: "layout",
		holders: manifest.holders,
		totals: totalsOf(manifest, found),
		tensors: manifest.tensors.map(({ fqn, dtype, shape, entries }) => ({
			fqn,
			dtype,
			shape,
			entries: entries.map(({ box, file, offset, length, holders }) => ({
				box,
				file,
				offset,
				length,
				holders,
			})),
		})),
		files: manifest.files.map(({ name, bytes }) => ({
			name,
			bytes,
			...placeOfFile(name),
			...(missing.has(name) ? { isMissing: true } : {}),
		})),
		sourceFiles: sourceFilesOf(
			source,
			manifest.tensors.map(({ recipe }) => recipe),
		),
		shares: sharesOf(summary),
		timelines,
		dropped: manifest.dropped,
		tied: manifest.tied,
		dequantised: manifest.dequantised,
		synthesised: manifest.synthesised,
		objects: found.objects.map(({ fqn }) => fqn),
		warnings:
			manifest.ranks === undefined
				? []
				: [`This directory holds the data of ranks ${manifest.ranks} alone.`],
		problems: found.problems.filter((problem) => !elsewhere.has(problem)),
		unknown: [
			"Of fetched bytes the sum is recorded, not what each source file gave.",
			...(timelines.length === 0
				? ["The summary of this conversion has no time lines: it was written by an older version."]
				: []),
		],
	};
}

/** The data files that belong into the directory: with a disk for each worker, those of other ranks lie elsewhere. */
function ownFilesOf({ ranks, files, tensors }: Manifest): ReadonlySet<string> {
	if (ranks === undefined) return new Set(files.map(({ name }) => name));
	const own = new Set<number>();
	for (const { entries } of tensors) {
		for (const { file, crc32 } of entries) if (crc32 !== undefined) own.add(file);
	}
	return new Set(files.flatMap(({ name }, index) => (own.has(index) ? [name] : [])));
}

function totalsOf({ tensors, metadata, summary }: Manifest, found: ReadDirectory): ReportTotals {
	return {
		dataBytes: dataBytesOf(tensors),
		fileBytes: found.files.reduce((sum, { bytes }) => sum + bytes, 0),
		metadataBytes: metadata.bytes,
		entries: tensors.reduce((sum, { entries }) => sum + entries.length, 0),
		fetchBytes: summary.fetchedBytes,
		requests: summary.requests,
		retries: summary.retries,
		takeovers: summary.takeovers,
	};
}

function sharesOf({ workers }: JobSummary): ReportShare[] {
	return workers.map((worker) => ({
		name: `worker ${worker.worker}`,
		host: worker.host,
		fetchBytes: worker.fetchedBytes,
		writeBytes: worker.writtenBytes,
		requests: worker.requests,
		entries: worker.entries,
		seconds: worker.seconds,
		retries: worker.retries,
		takeovers: worker.takeovers,
	}));
}

function timelinesOf({ workers }: JobSummary): ReportTimeline[] {
	return workers.flatMap(({ worker, host, timelines = [] }) =>
		timelines.map((timeline) => Object.assign({}, timeline, { worker, host })),
	);
}
