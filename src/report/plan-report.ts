import type { SourceNote } from "../core/recipe.ts";
import type { ShareFacts } from "../plan/share-facts.ts";
import type { Plan } from "../plan/types.ts";
import { dataBytesOf } from "./data-bytes.ts";
import {
	placeOfFile,
	type ReportData,
	type ReportMesh,
	type ReportShare,
	type ReportTensor,
} from "./report-data.ts";
import { sourceFilesOf } from "./source-files.ts";

/** What a report of a plan is made of. */
export interface PlanReportInput {
	/** Version of the program. */
	readonly tool: string;
	readonly plan: Plan;
	/** The distinct sets of ranks, as ranges, and for each entry which of them holds it. */
	readonly holders: { readonly sets: readonly string[]; readonly setOf: ArrayLike<number> };
	readonly meshes: readonly ReportMesh[];
	readonly sourceKind: string;
	readonly metadataBytes: number;
	/** What each worker is to do. */
	readonly workers: readonly (Omit<ShareFacts, "files" | "sourceFiles"> & {
		readonly files: number;
	})[];
	/** Keys that a checkpoint has whose layout is used, and that are not written. */
	readonly leftOut: readonly SourceNote[];
	readonly warnings: readonly string[];
}

/** A report of what a conversion would do. Pure. */
export function reportFromPlan(input: PlanReportInput): ReportData {
	const { plan, holders, tool, meshes, workers, warnings } = input;
	const { totals, source } = plan;
	const tensors = tensorsOf(plan, holders.setOf);
	return {
		format: "hf-stream-dcp report 1",
		kind: "plan",
		tool,
		origin: {
			model: source.repo,
			commit: source.commit,
			sourceKind: input.sourceKind,
			family: plan.family,
			target: plan.target,
			layout: plan.layout,
		},
		worldSize: plan.worldSize,
		meshes,
		holdersKnownBy: "layout",
		holders: holders.sets,
		totals: {
			dataBytes: dataBytesOf(tensors),
			fileBytes: totals.writeBytes,
			metadataBytes: input.metadataBytes,
			entries: totals.entries,
			fetchBytes: totals.fetchBytes,
			requests: totals.requests,
			entriesCut: totals.entriesCut,
			entriesCutForShares: totals.entriesCutForShares,
			memoryBytes: totals.memoryBytes,
		},
		tensors,
		files: plan.files.map(({ name, bytes }) => ({ name, bytes, ...placeOfFile(name) })),
		sourceFiles: sourceFilesOf(
			source,
			plan.tensors.map(({ expr }) => expr),
			fetchedOf(plan),
		),
		shares: workers.map((worker, index): ReportShare => {
			const { fetchBytes, writeBytes, requests, entries, files } = worker;
			return { name: `worker ${index}`, fetchBytes, writeBytes, requests, entries, files };
		}),
		timelines: [],
		dropped: [...plan.dropped, ...input.leftOut],
		tied: plan.tied,
		dequantised: plan.dequantised,
		synthesised: plan.synthesised,
		objects: [],
		warnings,
		problems: [],
		unknown: ["This is a plan: nothing has run, so there is no time line yet."],
	};
}

function tensorsOf(plan: Plan, setOf: ArrayLike<number>): ReportTensor[] {
	const fileIndex = new Map(plan.files.map(({ name }, index) => [name, index]));
	return plan.tensors.map(({ fqn, dtype, shape, firstEntry, endEntry }) => ({
		fqn,
		dtype,
		shape,
		entries: plan.entries.slice(firstEntry, endEntry).map(({ box, file, offset, length }, i) => ({
			box,
			file: fileIndex.get(file) ?? 0,
			offset,
			length,
			holders: setOf[firstEntry + i] ?? 0,
		})),
	}));
}

/** Bytes that are fetched of each file of the source. */
function fetchedOf({ source, tiles }: Plan): Float64Array {
	const bytes = new Float64Array(source.files.length);
	for (const { ranges } of tiles) {
		for (const { file, start, end } of ranges) bytes[file] = (bytes[file] ?? 0) + end - start;
	}
	return bytes;
}
