import type { CheckpointIndex } from "../core/checkpoint.ts";
import { dataBytesOf } from "./data-bytes.ts";
import { placeOfFile, type ReportData, type ReportTensor } from "./report-data.ts";

/** What is read of any checkpoint directory. */
export interface ReadDirectory extends CheckpointIndex {
	/** Absolute path. */
	readonly directory: string;
	/** Size of its metadata. */
	readonly metadataBytes: number;
	readonly files: readonly {
		readonly name: string;
		readonly bytes: number;
		readonly isMissing: boolean;
	}[];
	readonly problems: readonly string[];
}

/**
 * A report of what `.metadata` alone says: the rank that holds a block is the one in the name of its file. Pure.
 *
 * @param tool - Version of the program.
 * @param why - Why there is no more, one sentence.
 */
export function reportFromDirectory(read: ReadDirectory, tool: string, why: string): ReportData {
	const files = read.files.map(({ name, bytes, isMissing }) => ({
		name,
		bytes,
		...placeOfFile(name),
		...(isMissing ? { isMissing } : {}),
	}));
	const ranks = files.flatMap(({ rank }) => (rank === undefined ? [] : [rank]));
	const worldSize = ranks.reduce((most, rank) => Math.max(most, rank + 1), 0);
	const holders = new Map<string, number>();
	const setOfFile = files.map(({ rank }) => {
		const set = rank === undefined ? "" : String(rank);
		const known = holders.get(set) ?? holders.size;
		holders.set(set, known);
		return known;
	});
	const tensors = tensorsOf(read, setOfFile);
	return {
		format: "hf-stream-dcp report 1",
		kind: "checkpoint",
		tool,
		origin: { directory: read.directory },
		worldSize,
		meshes: [],
		holdersKnownBy: "files",
		holders: [...holders.keys()],
		totals: {
			dataBytes: dataBytesOf(tensors),
			fileBytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
			metadataBytes: read.metadataBytes,
			entries: tensors.reduce((sum, { entries }) => sum + entries.length, 0),
		},
		tensors,
		files,
		sourceFiles: [],
		shares: [],
		timelines: [],
		dropped: [],
		tied: [],
		dequantised: [],
		synthesised: [],
		objects: read.objects.map(({ fqn }) => fqn),
		warnings: [],
		problems: read.problems,
		unknown: [
			why,
			"A block counts for the rank whose file it is in: which ranks share a replicated block is not recorded.",
			"Not known: the mesh, the source, what was dropped or tied, and how the conversion went.",
		],
	};
}

function tensorsOf(read: ReadDirectory, setOfFile: readonly number[]): ReportTensor[] {
	const fileIndex = new Map(read.files.map(({ name }, index) => [name, index]));
	return read.tensors.map(({ fqn, dtype, shape, entries }) => ({
		fqn,
		dtype,
		shape,
		entries: entries.map(({ box, file: name, offset, length }) => {
			const file = fileIndex.get(name) ?? 0;
			return { box, file, offset, length, holders: setOfFile[file] ?? 0 };
		}),
	}));
}
