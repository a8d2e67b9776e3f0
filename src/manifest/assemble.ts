import { isHfStreamDcpError } from "../core/errors.ts";
import { parseRankRanges } from "../core/rank-ranges.ts";
import { shapesEqual } from "../core/shape.ts";
import type { Source, SourceTensor } from "../core/source.ts";
import { recipeFault } from "./check-recipe.ts";
import { corruptManifest } from "./corrupt.ts";
import { addEntryRows } from "./entry-rows.ts";
import type { Manifest, ManifestEntry, ManifestTensor } from "./manifest.ts";
import type { ManifestHead } from "./schema.ts";

/**
 * The manifest that the two parts of a file make, checked as far as one part must fit the other.
 *
 * @param rows - The lines of its entries.
 * @param path - For messages.
 * @throws {HfStreamDcpError} `CHECKPOINT_CORRUPT`
 */
export function assembleManifest(head: ManifestHead, rows: Buffer, path: string): Manifest {
	const { columns: _, source: written, tensors: described, ...rest } = head;
	const source = sourceOf(written, path);
	checkRanks(head, path);
	checkRecipes(described, source, path);
	const tensors = described.map((tensor) => ({ ...tensor, entries: new Array<ManifestEntry>() }));
	const fileBytes = head.files.map(({ bytes }) => bytes);
	addEntryRows({ tensors, fileBytes, holders: head.holders.length, path }, rows);
	return { ...rest, source, tensors };
}

function sourceOf({ tensors, ...rest }: ManifestHead["source"], path: string): Source {
	const { files, config } = rest;
	const names = new Set<string>();
	return {
		...rest,
		config,
		tensors: tensors.map(([name, dtype, shape, file, begin, end]): SourceTensor => {
			const found = files[file];
			if (found === undefined || begin > end || end > found.bytes || names.has(name)) {
				throw corruptManifest(path, `source tensor ${JSON.stringify(name)} lies nowhere, or twice`);
			}
			names.add(name);
			return { name, dtype, shape, file: found.path, begin, end };
		}),
	};
}

function checkRanks({ holders, ranks, layout }: ManifestHead, path: string): void {
	for (const text of ranks === undefined ? holders : [...holders, ranks]) {
		const last = parseRankRanges(text)?.at(-1)?.[1];
		if (last === undefined || last >= layout.worldSize) {
			throw corruptManifest(path, `${JSON.stringify(text)} are no ranks of the training job`);
		}
	}
}

function checkRecipes(
	tensors: readonly Omit<ManifestTensor, "entries">[],
	source: Source,
	path: string,
): void {
	const sources = new Map(source.tensors.map((tensor) => [tensor.name, tensor]));
	const names = new Set<string>();
	for (const { fqn, dtype, shape, recipe } of tensors) {
		const isTyped = recipe.dtype === dtype && shapesEqual(recipe.shape, shape);
		const fault = isTyped ? faultIn(recipe, sources) : "its recipe makes another shape or dtype";
		if (fault === undefined && !names.has(fqn)) names.add(fqn);
		else
			throw corruptManifest(path, `tensor ${JSON.stringify(fqn)}: ${fault ?? "it is there twice"}`);
	}
}

function faultIn(...args: Parameters<typeof recipeFault>): string | undefined {
	try {
		return recipeFault(...args);
	} catch (error) {
		if (isHfStreamDcpError(error)) return error.message;
		throw error;
	}
}
