import { HfStreamDcpError } from "../core/errors.ts";
import type { SourceTensor } from "../core/source.ts";
import type { FileHeader } from "./read-headers.ts";
import { formatNames } from "./repo-files.ts";
import { quote } from "./strict-json.ts";
import type { WeightIndex } from "./weight-index.ts";

/** The tensors of a model. */
export interface SelectedTensors {
	/** In the order of the headers. Names are unique. */
	readonly tensors: readonly SourceTensor[];
	/** What was left out, one sentence each. */
	readonly warnings: readonly string[];
}

/**
 * Decides which of the tensors in the files belong to the model. With an index: exactly those it names, each from the file
 * it names; shards often hold stale or extra tensors besides. Without one: all of them.
 *
 * @param indexFile - Path of the index, for messages.
 * @throws {HfStreamDcpError} `INDEX_INVALID` when the index names tensors that their files lack; `HEADER_INVALID` when,
 * without an index, a name is in two files.
 */
export function selectTensors(
	headers: readonly FileHeader[],
	index: WeightIndex | undefined,
	indexFile: string,
): SelectedTensors {
	const all = headers.flatMap(({ tensors }) => tensors);
	if (index === undefined) {
		assertUnique(all, indexFile);
		return { tensors: all, warnings: [] };
	}
	const tensors = all.filter(({ name, file }) => index.get(name) === file);
	if (tensors.length < index.size) throw missing(all, tensors, index, indexFile);
	const unlisted = all.filter(({ name }) => !index.has(name));
	const copies = all.filter(({ name, file }) => index.has(name) && index.get(name) !== file);
	return {
		tensors,
		warnings: [
			...describe(unlisted, `not named by ${indexFile}`),
			...describe(copies, `taken from another file by ${indexFile}`),
		],
	};
}

function assertUnique(tensors: readonly SourceTensor[], indexFile: string): void {
	const files = new Map<string, string>();
	for (const { name, file } of tensors) {
		const other = files.get(name);
		if (other !== undefined) {
			throw new HfStreamDcpError(
				"HEADER_INVALID",
				`tensor ${quote(name)} is in ${other} and in ${file}, and no ${indexFile} says which is meant`,
				{
					hint: `Add the ${indexFile} of the model, or remove the file that does not belong to it.`,
					facts: { tensor: name, files: [other, file] },
				},
			);
		}
		files.set(name, file);
	}
}

function missing(
	all: readonly SourceTensor[],
	tensors: readonly SourceTensor[],
	index: WeightIndex,
	indexFile: string,
): HfStreamDcpError {
	const found = new Set(tensors.map(({ name }) => name));
	const names = [...index.keys()].filter((name) => !found.has(name));
	const homes = new Map(all.map(({ name, file }) => [name, file]));
	const lines = names.map((name) => {
		const home = homes.get(name);
		const elsewhere = home === undefined ? "" : `, but it is in ${home}`;
		return `${quote(name)} (not in ${index.get(name)}${elsewhere})`;
	});
	return new HfStreamDcpError(
		"INDEX_INVALID",
		`${indexFile} names ${names.length} tensors that their files lack: ${formatNames(lines)}`,
		{
			hint: "The index belongs to other files; get both again, or save the model again with save_pretrained.",
			facts: { file: indexFile, missing: names },
		},
	);
}

function describe(tensors: readonly SourceTensor[], what: string): string[] {
	if (tensors.length === 0) return [];
	const names = tensors.map(({ name, file }) => `${quote(name)} in ${file}`);
	const count = tensors.length === 1 ? "1 tensor is" : `${tensors.length} tensors are`;
	return [`${count} ${what} and left out: ${formatNames(names)}`];
}
