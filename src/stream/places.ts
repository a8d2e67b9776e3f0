import { invariant } from "../core/errors.ts";
import type { Places } from "../plan/footprint.ts";
import type { Plan } from "../plan/types.ts";

/** Where every source tensor of a plan lies. */
export function placesOf({ source, tied }: Pick<Plan, "source" | "tied">): Places {
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
