import { invariant } from "../core/errors.ts";
import type { SourceNote } from "../core/recipe.ts";
import type { Source } from "../core/source.ts";

/** Where a source tensor lies: index of its file and first byte. */
export interface Placed {
	readonly file: number;
	readonly begin: number;
	/** Stored under more than one key: its bytes may be read by several entries. */
	readonly tied: boolean;
}

/** Where every source tensor lies, by name. */
export type Places = ReadonlyMap<string, Placed>;

/** Where every source tensor lies. `tied` names those that are stored under more than one key. */
export function placesOf(inputs: {
	readonly source: Source;
	readonly tied: readonly SourceNote[];
}): Places {
	const { source, tied } = inputs;
	const files = new Map(source.files.map((file, index) => [file.path, index]));
	const tiedNames = new Set(tied.map((note) => note.name));
	return new Map(
		source.tensors.map(({ name, file, begin }) => {
			const index = files.get(file);
			invariant(index !== undefined, `tensor ${name} in unknown file ${file}`);
			return [name, { file: index, begin, tied: tiedNames.has(name) }];
		}),
	);
}
