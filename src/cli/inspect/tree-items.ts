import type {
	CheckpointObject,
	CheckpointTensor,
	Entry,
	SourceTensor,
	TreeItem,
} from "../../index.ts";
import { formatCount } from "../format.ts";

/** `[64, 5120]` */
export function formatSizes(sizes: readonly number[]): string {
	return `[${sizes.join(", ")}]`;
}

/** `8 × [64, 5120]`; `8 × ≤ [64, 5120]` when some are smaller than the first. */
export function describeChunks(entries: readonly Entry[]): string {
	const sizes = new Set(entries.map(({ box }) => formatSizes(box.size)));
	const [first] = sizes;
	if (first === undefined) return "none";
	return `${formatCount(entries.length)} × ${sizes.size > 1 ? "≤ " : ""}${first}`;
}

/** Bytes of entries, containers included. */
export function storedBytes(entries: readonly { readonly length: number }[]): number {
	return entries.reduce((sum, { length }) => sum + length, 0);
}

/** What a checkpoint holds, for its tree. */
export function checkpointItems(
	tensors: readonly CheckpointTensor[],
	objects: readonly CheckpointObject[],
): TreeItem[] {
	return [
		...tensors.map(({ fqn, dtype, shape, entries }): TreeItem => {
			const cut = entries.map(({ box }) => `${box.offset.join()}/${box.size.join()}`).join(" ");
			const chunks = describeChunks(entries);
			const tensor = { dtype, shape, chunks, chunkCount: entries.length, cut };
			return { name: fqn, tensor, bytes: storedBytes(entries) };
		}),
		...objects.map(({ fqn, length }): TreeItem => ({
			name: fqn,
			tensor: undefined,
			bytes: length,
		})),
	];
}

/** What a model holds, for its tree. */
export function sourceItems(tensors: readonly SourceTensor[]): TreeItem[] {
	// In the order of the files, layers can come as 0, 1, 10, 11, 2: names are what people look for.
	const named = tensors.toSorted((a, b) => compareNames(a.name, b.name));
	return named.map(({ name, dtype, shape, begin, end }): TreeItem => ({
		name,
		tensor: { dtype, shape, chunks: "", chunkCount: 0, cut: "" },
		bytes: end - begin,
	}));
}

function compareNames(a: string, b: string): number {
	return a.localeCompare(b, "en", { numeric: true });
}
