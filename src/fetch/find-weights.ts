import { HfStreamDcpError } from "../core/errors.ts";
import { findPipelineModel } from "./pipeline.ts";
import { formatNames, type RepoFile, type RepoFiles, sourceError } from "./repo-files.ts";
import { MAX_INDEX_BYTES, parseWeightIndex, type WeightIndex } from "./weight-index.ts";

/** The safetensors files that make a model. */
export interface Weights {
	/** Sorted by path. */
	readonly files: readonly RepoFile[];
	/** Which tensor to take from which file; `undefined` when all tensors of all files are meant. */
	readonly index: WeightIndex | undefined;
	/** Path of the index, whether there is one or not. */
	readonly indexFile: string;
	/** Folder of the model's `config.json`, with a slash at the end; empty for the top. */
	readonly folder: string;
	/** What the user should know of the choice. */
	readonly warnings: readonly string[];
}

/** How a library names the weights of a model. */
interface Naming {
	readonly library: string;
	/** Of a model that is not sharded. */
	readonly single: string;
	/** The index of a sharded model. */
	readonly index: string;
	/** Which the library takes where both are there and the index names other files. */
	readonly prefers: "single" | "index";
}

const TRANSFORMERS: Naming = {
	library: "transformers",
	single: "model.safetensors",
	index: "model.safetensors.index.json",
	prefers: "single",
};

const DIFFUSERS: Naming = {
	library: "diffusers",
	single: "diffusion_pytorch_model.safetensors",
	index: "diffusion_pytorch_model.safetensors.index.json",
	prefers: "index",
};

const SHARD_PATTERN = /^model[-_](\d{5,6})-of-(\d{5,6})\.safetensors$/;

/** Whether `path` has the name of weights that are all in one file. */
export function isSingleFile(path: string): boolean {
	const name = path.slice(path.lastIndexOf("/") + 1);
	return name === TRANSFORMERS.single || name === DIFFUSERS.single;
}

/**
 * Finds the weights of a model by name. Of transformers, in the order in which it looks: `model.safetensors`, the index, then a
 * complete set of `model-00001-of-0000N.safetensors` without an index. Of diffusers: `diffusion_pytorch_model.safetensors` or its
 * index, in the folder of the transformer where the repository is a pipeline.
 *
 * Files of other names are never taken: `consolidated*`, adapters, variants such as `model.fp16.safetensors` and other sub-folders
 * hold other weights, or the same ones under other names.
 *
 * @throws {HfStreamDcpError} `INDEX_INVALID` when the index is broken or names files that are not there;
 * `SOURCE_UNREADABLE` when there are no weights, or none whose choice would not be a guess: the candidates are listed.
 * @see transformers 5.23 `modeling_utils.py` `_get_resolved_checkpoint_files`; diffusers `models/modeling_utils.py` `from_pretrained`
 */
export async function findWeights(repo: RepoFiles): Promise<Weights> {
	const model = await findNamed(repo, TRANSFORMERS, "");
	if (model !== undefined) return model;
	const pipeline = await findPipelineModel(repo);
	const folder = pipeline?.folder ?? "";
	const diffuser = await findNamed(repo, DIFFUSERS, folder);
	if (pipeline === undefined) return diffuser ?? findNumberedShards(repo);
	if (diffuser === undefined) {
		throw sourceError(
			`${repo.name} is a diffusers pipeline (${pipeline.pipeline}), but has neither ${folder}${DIFFUSERS.single} nor ${folder}${DIFFUSERS.index}`,
			"The download or upload is not complete, or its weights are no safetensors files.",
			{ folder },
		);
	}
	const note = `${repo.name} is a diffusers pipeline (${pipeline.pipeline}), of which ${folder} is taken`;
	return { ...diffuser, warnings: [note, ...diffuser.warnings] };
}

/** The weights that `naming` names in `folder`; `undefined` when there are none. */
async function findNamed(
	repo: RepoFiles,
	naming: Naming,
	folder: string,
): Promise<Weights | undefined> {
	const [singleFile, indexFile] = [folder + naming.single, folder + naming.index];
	const single = await repo.find(singleFile);
	const whole = (file: RepoFile, warnings: readonly string[]): Weights => ({
		files: [file],
		index: undefined,
		indexFile,
		folder,
		warnings,
	});
	if ((await repo.find(indexFile)) === undefined) {
		return single === undefined ? undefined : whole(single, []);
	}
	const listed = parseWeightIndex(await repo.read(indexFile, MAX_INDEX_BYTES), indexFile);
	const index = inFolder(folder, listed);
	const paths = new Set(index.values());
	const warnings: string[] = [];
	if (single !== undefined && !(paths.size === 1 && paths.has(singleFile))) {
		const isWhole = naming.prefers === "single";
		const choice = isWhole
			? `${singleFile} is used and the index is not`
			: `the index is used and ${singleFile} is not`;
		const warning = `${repo.name} has both ${singleFile} and ${indexFile}; as in ${naming.library}, ${choice}`;
		if (isWhole) return whole(single, [warning]);
		warnings.push(warning);
	}
	return { files: await findShards(repo, paths, indexFile), index, indexFile, folder, warnings };
}

/** An index names files relative to the folder that it lies in. */
function inFolder(folder: string, index: WeightIndex): WeightIndex {
	if (folder === "") return index;
	return new Map([...index].map(([tensor, path]) => [tensor, folder + path]));
}

async function findShards(
	repo: RepoFiles,
	paths: ReadonlySet<string>,
	indexFile: string,
): Promise<RepoFile[]> {
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
			`${indexFile} names ${paths.size} files, but ${repo.name} lacks ${missing.length} of them: ${formatNames(missing)}`,
			{
				hint: "The download or upload is not complete, or the index belongs to another version of the model.",
				facts: { file: indexFile, missing },
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
			`${repo.name} has no ${TRANSFORMERS.index}, and its ${shards.length} shards are not one complete set of ${[...totals].toSorted().map(Number).join(" or ")}${what}`,
			`Add the missing files, or the ${TRANSFORMERS.index} that says which files belong to the model.`,
			{ shards: shards.map(({ path }) => path), missing },
		);
	}
	const warning = `${repo.name} has no ${TRANSFORMERS.index}; all tensors of its ${shards.length} shards are taken`;
	const indexFile = TRANSFORMERS.index;
	return {
		files: sortByPath(shards),
		index: undefined,
		indexFile,
		folder: "",
		warnings: [warning],
	};
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
			`The names are ${TRANSFORMERS.single}, or ${TRANSFORMERS.index} and the files it names; of diffusers ${DIFFUSERS.single} and ${DIFFUSERS.index}. Adapters, variants and consolidated files are not taken; to use one of these files, put it under such a name into a directory with its config.json.`,
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
		`${repo.name} has no weights: neither ${TRANSFORMERS.single} nor ${TRANSFORMERS.index} is there`,
		"Check the name of the repository, its revision, or the directory.",
		{},
	);
}
