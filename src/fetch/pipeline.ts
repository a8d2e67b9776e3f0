import * as v from "valibot";
import { type RepoFiles, sourceError } from "./repo-files.ts";

/** What makes a repository a diffusion pipeline: which class of which library each of its folders belongs to. */
const PIPELINE_FILE = "model_index.json";

/** The component that a trainer trains. */
const COMPONENT = "transformer";

/** Largest pipeline file that is read, bytes. Real ones have a KiB. */
const MAX_PIPELINE_BYTES = 1024 * 1024;

/** The model in a diffusion pipeline. */
export interface PipelineModel {
	/** Its folder, with a slash at the end. */
	readonly folder: string;
	/** `FluxPipeline`. */
	readonly pipeline: string;
}

/**
 * The model of a repository that is a diffusers pipeline: its transformer. `undefined` when it is none.
 *
 * @throws {HfStreamDcpError} `SOURCE_UNREADABLE` when the pipeline has no transformer.
 * @see diffusers `pipelines/pipeline_utils.py`, `DiffusionPipeline.from_pretrained`
 */
export async function findPipelineModel(repo: RepoFiles): Promise<PipelineModel | undefined> {
	if ((await repo.find(PIPELINE_FILE)) === undefined) return undefined;
	const bytes = await repo.read(PIPELINE_FILE, MAX_PIPELINE_BYTES);
	const parsed = v.safeParse(PipelineSchema, parseJson(bytes));
	if (!parsed.success) {
		throw sourceError(
			`${PIPELINE_FILE} of ${repo.name} does not say what the pipeline consists of`,
			"Get the file again, or correct it.",
			{ file: PIPELINE_FILE },
		);
	}
	const { _class_name: pipeline, [COMPONENT]: component } = parsed.output;
	if (typeof component?.[1] !== "string") {
		throw sourceError(
			`${repo.name} is a diffusers pipeline (${pipeline}) without a transformer`,
			"Give the directory of the component that you want, with its config.json.",
			{ pipeline },
		);
	}
	return { folder: `${COMPONENT}/`, pipeline };
}

/** Every component is a library and a class, both `null` where the pipeline goes without it. */
const PipelineSchema = v.object({
	_class_name: v.string(),
	[COMPONENT]: v.optional(v.array(v.nullable(v.string()))),
});

function parseJson(bytes: Uint8Array): unknown {
	try {
		return JSON.parse(new TextDecoder().decode(bytes));
	} catch {
		return undefined;
	}
}
