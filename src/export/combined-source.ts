import type { ByteSource } from "../core/ports.ts";
import type { Source } from "../core/source.ts";
import { MODEL_PREFIX, modelName } from "./plan-export.ts";

/** Bytes, and what is in them. */
export interface ReadableSource {
	readonly source: Source;
	readonly bytes: ByteSource;
}

/**
 * A checkpoint, and beside it the model that it was made of, its names and files with {@link MODEL_PREFIX} in front. The caller disposes of
 * both.
 */
export function combineSources(
	checkpoint: ReadableSource,
	model: ReadableSource | undefined,
): ReadableSource {
	if (model === undefined) return checkpoint;
	const { files, tensors } = model.source;
	return {
		source: {
			...checkpoint.source,
			files: [
				...checkpoint.source.files,
				...files.map((file) => ({ ...file, path: modelName(file.path) })),
			],
			tensors: [
				...checkpoint.source.tensors,
				...tensors.map((tensor) => ({
					...tensor,
					name: modelName(tensor.name),
					file: modelName(tensor.file),
				})),
			],
		},
		bytes: {
			readInto: (range, into, options) => {
				const { file } = range;
				if (!file.startsWith(MODEL_PREFIX)) return checkpoint.bytes.readInto(range, into, options);
				const own = { ...range, file: file.slice(MODEL_PREFIX.length) };
				return model.bytes.readInto(own, into, options);
			},
			[Symbol.asyncDispose]: () => Promise.resolve(),
		},
	};
}
