import type { CheckpointTensor, ReadCheckpoint, Source } from "../index.ts";
import { formatBytes, formatCount, formatTable, plural } from "./format.ts";
import { describeChunks, formatSizes, storedBytes } from "./inspect/tree-items.ts";

function truncated(total: number, limit: number, what: string): string[] {
	return total > limit
		? [`… and ${plural(total - limit, `more ${what}`)}; --limit 0 shows all`]
		: [];
}

function section(title: string, table: string, notes: readonly string[]): string {
	return [title, table, ...notes].filter((part) => part !== "").join("\n");
}

function tensorRow({ fqn, dtype, shape: sizes, entries }: CheckpointTensor): string[] {
	const files = new Set(entries.map(({ file }) => file));
	return [
		fqn,
		dtype,
		formatSizes(sizes),
		describeChunks(entries),
		String(files.size),
		formatBytes(storedBytes(entries)),
	];
}

/** A checkpoint's tensors and files as tables, at most `limit` rows each; no line break at the end. */
export function renderCheckpoint(checkpoint: ReadCheckpoint, limit: number): string {
	const { tensors, objects, files, metadataBytes } = checkpoint;
	const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
	const chunks = tensors.reduce((sum, { entries }) => sum + entries.length, 0);
	const summary = [
		plural(tensors.length, "tensor"),
		plural(chunks, "chunk"),
		...(objects.length > 0 ? [plural(objects.length, "other object")] : []),
		plural(files.length, "file"),
		`${formatBytes(total)}, .metadata ${formatBytes(metadataBytes)}`,
	].join(", ");
	const tensorTable = formatTable(
		[
			["tensor", "dtype", "shape", "chunks", "files", "stored"],
			...tensors.slice(0, limit).map(tensorRow),
		],
		[4, 5],
	);
	const sections = [
		section(summary, "", []),
		section("", tensorTable, truncated(tensors.length, limit, "tensor")),
		renderCheckpointFiles(checkpoint, limit),
	];
	if (objects.length > 0) {
		const rows = objects.slice(0, limit).map(({ fqn, length }) => [fqn, formatBytes(length)]);
		const objectTable = formatTable([["object (not unpickled)", "stored"], ...rows], [1]);
		sections.push(section("", objectTable, truncated(objects.length, limit, "object")));
	}
	return sections.join("\n\n");
}

/** The files that a checkpoint's metadata names, as a table of at most `limit` rows. */
export function renderCheckpointFiles(checkpoint: ReadCheckpoint, limit: number): string {
	const { tensors, files } = checkpoint;
	const perFile = new Map<string, number>();
	for (const { file } of tensors.flatMap(({ entries }) => entries)) {
		perFile.set(file, (perFile.get(file) ?? 0) + 1);
	}
	const fileTable = formatTable(
		[
			["file", "chunks", "size"],
			...files
				.slice(0, limit)
				.map(({ name, bytes, isMissing }) => [
					name,
					formatCount(perFile.get(name) ?? 0),
					isMissing ? "missing" : formatBytes(bytes),
				]),
		],
		[1, 2],
	);
	return section("", fileTable, truncated(files.length, limit, "file"));
}

/** A model repository's tensors and files as tables, at most `limit` rows each; no line break at the end. */
export function renderSource(source: Source, limit: number): string {
	const { tensors, files } = source;
	const total = tensors.reduce((sum, { begin, end }) => sum + end - begin, 0);
	const tensorTable = formatTable(
		[
			["tensor", "dtype", "shape", "file", "size"],
			...tensors
				.slice(0, limit)
				.map(({ name, dtype, shape: sizes, file, begin, end }) => [
					name,
					dtype,
					formatSizes(sizes),
					file,
					formatBytes(end - begin),
				]),
		],
		[4],
	);
	return [
		`${source.repo} @ ${source.commit}\n${plural(tensors.length, "tensor")}, ${plural(files.length, "file")}, ${formatBytes(total)} of weights`,
		section("", tensorTable, truncated(tensors.length, limit, "tensor")),
		renderSourceFiles(source, limit),
	].join("\n\n");
}

/** A model's files as a table of at most `limit` rows. */
export function renderSourceFiles({ files }: Source, limit: number): string {
	const fileTable = formatTable(
		[
			["file", "size"],
			...files.slice(0, limit).map(({ path, bytes }) => [path, formatBytes(bytes)]),
		],
		[1],
	);
	return section("", fileTable, truncated(files.length, limit, "file"));
}
