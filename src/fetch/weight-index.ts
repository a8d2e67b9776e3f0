import { HfStreamDcpError } from "../core/errors.ts";
import { isSafePath } from "./repo-files.ts";
import {
	createJsonReader,
	finishJson,
	JsonError,
	quote,
	readObject,
	readString,
	skipValue,
} from "./strict-json.ts";

/** Which file each tensor is taken from: the `weight_map` of a `model.safetensors.index.json`. */
export type WeightIndex = ReadonlyMap<string, string>;

/** Largest index that is read, bytes: the limit of `@huggingface/hub` 2.17. The largest known has 60 MB. Fatal beyond. */
export const MAX_INDEX_BYTES = 250_000_000;

/**
 * Reads a weight index. Everything but `weight_map` is ignored: sizes in `metadata` are often missing, wrong or text.
 *
 * @param bytes - The whole file.
 * @param file - Its path, for messages.
 * @throws {HfStreamDcpError} `INDEX_INVALID` when it is no JSON, has a key twice, maps nothing, or names a file that is no
 * safetensors file inside the repository.
 */
export function parseWeightIndex(bytes: Uint8Array, file: string): WeightIndex {
	const index = new Map<string, string>();
	try {
		const reader = createJsonReader(bytes);
		readObject(reader, (key) => {
			if (key !== "weight_map") return skipValue(reader);
			return readObject(reader, (tensor) => index.set(tensor, readString(reader)));
		});
		finishJson(reader);
	} catch (error) {
		if (!(error instanceof JsonError)) throw error;
		throw invalid(file, `${error.message} (byte ${error.position})`);
	}
	if (index.size === 0) throw invalid(file, "its weight_map is missing or empty");
	for (const [tensor, path] of index) {
		if (!isSafePath(path) || !path.endsWith(".safetensors")) {
			const problem = `tensor ${quote(tensor)} is said to be in ${quote(path)}, which is no safetensors file of the repository`;
			throw invalid(file, problem);
		}
	}
	return index;
}

function invalid(file: string, problem: string): HfStreamDcpError {
	return new HfStreamDcpError("INDEX_INVALID", `${file} is not a valid weight index: ${problem}`, {
		hint: "Get the file again, or save the model again with save_pretrained.",
		facts: { file },
	});
}
