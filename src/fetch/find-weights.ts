import { HfStreamDcpError } from "../core/errors.ts";
import { formatNames, type RepoFile, type RepoFiles, sourceError } from "./repo-files.ts";
import { MAX_INDEX_BYTES, parseWeightIndex, type WeightIndex } from "./weight-index.ts";

/** The safetensors files that make a model. */
export interface Weights {
	/** Sorted by path. */
	readonly files: readonly RepoFile[];
	/** Which tensor to take from which file; `undefined` when all tensors of all files are meant. */
	readonly index: WeightIndex | undefined;
	/** What the user should know of the choice. */
	readonly warnings: readonly string[];
}

/** Name of the index of a sharded model. */
export const INDEX_FILE = "model.safetensors.index.json";

/** Name of the weights of a model that is not sharded. */
export const SINGLE_FILE = "model.safetensors";

const SHARD_PATTERN = /^model[-_](\d{5,6})-of-(\d{5,6})\.safetensors$/;

/**
 * Finds the weights of a transformers model, by name, in the order in which transformers looks: `model.safetensors`, the
 * index, then a complete set of `model-00001-of-0000N.safetensors` without an index.
 *
 * Files of other names are never taken: `consolidated*`, adapters, variants such as `model.fp16.safetensors` and
 * diffusers' sub-folders hold other weights, or the same ones under other names.
 *
 * @throws {HfStreamDcpError} `INDEX_INVALID` when the index is broken or names files that are not there;
 * `SOURCE_UNREADABLE` when there are no weights, or none whose choice would not be a guess: the candidates are listed.
 * @see transformers 5.23 `modeling_utils.py` `_get_resolved_checkpoint_files`
 */
export async function findWeights(repo: RepoFiles): Promise<Weights> {
	const single = await repo.find(SINGLE_FILE);
	const hasIndex = (await repo.find(INDEX_FILE)) !== undefined;
	if (hasIndex) {
		const index = parseWeightIndex(await repo.read(INDEX_FILE, MAX_INDEX_BYTES), INDEX_FILE);
		const paths = new Set(index.values());
		if (single === undefined || (paths.size === 1 && paths.has(SINGLE_FILE))) {
			return { files: await findShards(repo, paths), index, warnings: [] };
		}
		const warning = `${repo.name} has both ${SINGLE_FILE} and ${INDEX_FILE}; as in transformers, ${SINGLE_FILE} is used and the index is not`;
		return { files: [single], index: undefined, warnings: [warning] };
	}
	if (single !== undefined) return { files: [single], index: undefined, warnings: [] };
	return findNumberedShards(repo);
}

async function findShards(repo: RepoFiles, paths: ReadonlySet<string>): Promise<RepoFile[]> {
	const files: RepoFile[] = [];
	const missing: string[] = [];
	for (const path of [...paths].toSorted()) {
		const file = await repo.find(path);
		if (file === undefined) missing.push(path);
		else files.push(file);
	}
	if (missing.length > 0) {
		throw new HfStreamDcpError(
			"INDEX_INVALID",
			`${INDEX_FILE} names ${paths.size} files, but ${repo.name} lacks ${missing.length} of them: ${formatNames(missing)}`,
			{
				hint: "The download or upload is not complete, or the index belongs to another version of the model.",
				facts: { file: INDEX_FILE, missing },
			},
		);
	}
	return files;
}

function findNumberedShards(repo: RepoFiles): Weights {
	const shards = repo.list.filter(({ path }) => SHARD_PATTERN.test(path));
	const totals = new Set(shards.map(({ path }) => SHARD_PATTERN.exec(path)?.[2] ?? ""));
	const [total] = totals;
	if (total === undefined) throw noWeights(repo);
	const numbers = new Set(shards.map(({ path }) => Number(SHARD_PATTERN.exec(path)?.[1])));
	const missing: string[] = [];
	for (let number = 1; number <= Number(total); number++) {
		if (!numbers.has(number)) missing.push(`${number}`.padStart(total.length, "0"));
	}
	if (totals.size > 1 || shards.length !== Number(total) || missing.length > 0) {
		const what = missing.length > 0 ? `, without numbers ${formatNames(missing)}` : "";
		throw sourceError(
			`${repo.name} has no ${INDEX_FILE}, and its ${shards.length} shards are not one complete set of ${[...totals].toSorted().map(Number).join(" or ")}${what}`,
			`Add the missing files, or the ${INDEX_FILE} that says which files belong to the model.`,
			{ shards: shards.map(({ path }) => path), missing },
		);
	}
	const warning = `${repo.name} has no ${INDEX_FILE}; all tensors of its ${shards.length} shards are taken`;
	return { files: sortByPath(shards), index: undefined, warnings: [warning] };
}

function sortByPath(files: readonly RepoFile[]): RepoFile[] {
	return files.toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

const OTHER_WEIGHTS = /\.(?:bin|pt|pth|ckpt|gguf|ggml|h5|msgpack|onnx|npz|nemo|distcp)$/;

function noWeights(repo: RepoFiles): HfStreamDcpError {
	const paths = repo.list.map(({ path }) => path);
	const candidates = paths.filter((path) => /\.safetensors(?:\.index.*\.json)?$/.test(path));
	if (candidates.length > 0) {
		return sourceError(
			`${repo.name} has safetensors files, but none with the names of a transformers model: ${formatNames(candidates, 10)}`,
			`The names are ${SINGLE_FILE}, or ${INDEX_FILE} and the files it names. Adapters, variants and consolidated files are not taken; to use one of these files, put it under such a name into a directory with its config.json.`,
			{ candidates },
		);
	}
	const others = paths.filter((path) => OTHER_WEIGHTS.test(path));
	if (others.length > 0) {
		return sourceError(
			`${repo.name} has no safetensors files; its weights are in ${formatNames(others)}`,
			"Save the model as safetensors first: AutoModelForCausalLM.from_pretrained(…).save_pretrained(…) in transformers.",
			{ others },
		);
	}
	return sourceError(
		`${repo.name} has no weights: neither ${SINGLE_FILE} nor ${INDEX_FILE} is there`,
		"Check the name of the repository, its revision, or the directory.",
		{},
	);
}
