import { isHfStreamDcpError } from "../core/errors.ts";
import type { ReadCheckpoint } from "../dcp/checkpoint-reader.ts";
import type { ExplainKeys } from "../lint/key-findings.ts";
import type { Manifest } from "../manifest/manifest.ts";
import type { Source } from "../core/source.ts";
import type { Family } from "../models/family.ts";
import { mapModel } from "../models/map-model.ts";
import { targetsToTry } from "../models/spellings.ts";

/** What the names of the model are taken from. */
interface Model {
	readonly manifest: Manifest | undefined;
	readonly source: Source | undefined;
	readonly family: string | Family | undefined;
}

/** Missing keys that are looked for under something else. */
const LOOKED_FOR = 20;

/**
 * Explains why a trainer's keys are not in a checkpoint: they are there under something (`model.`), or as another release of the trainer
 * spells them.
 *
 * @param target - Of the trainer.
 */
export function explainBy(
	checkpoint: ReadCheckpoint,
	target: string | undefined,
	model: Model,
): ExplainKeys {
	const keys = [...checkpoint.tensors, ...checkpoint.objects].map(({ fqn }) => fqn);
	return (missing) => {
		const prefix = prefixOf(keys, missing);
		if (prefix !== undefined) {
			return `The checkpoint has them under ${JSON.stringify(prefix)}: load a state dict that is nested so, and lint with --prefix ${prefix}`;
		}
		const spelling = model.manifest?.target ?? spellingOf(new Set(keys), target, model);
		if (spelling === undefined || spelling === target) return undefined;
		return `The checkpoint's keys are those of --target ${spelling}${target === undefined ? "" : `, the trainer's those of ${target}`}: convert with the trainer's target, or use that release.`;
	};
}

/** What stands in the checkpoint before every one of the first missing keys. */
function prefixOf(keys: readonly string[], missing: readonly string[]): string | undefined {
	const looked = missing.slice(0, LOOKED_FOR);
	const [first] = looked;
	if (first === undefined) return undefined;
	const all = new Set(keys);
	return keys
		.filter((key) => key.endsWith(`.${first}`))
		.map((key) => key.slice(0, -first.length))
		.find((prefix) => looked.every((key) => all.has(prefix + key)));
}

/** The target whose names the checkpoint has most of: more than half, and more than of the trainer's. */
function spellingOf(
	keys: ReadonlySet<string>,
	trainers: string | undefined,
	{ source, family }: Model,
): string | undefined {
	if (source === undefined) return undefined;
	let best: string | undefined;
	let most = 0;
	const tried = targetsToTry(family, source.config);
	for (const target of trainers === undefined ? tried : [trainers, ...tried]) {
		try {
			const { recipes, target: id } = mapModel({
				source,
				family: target.startsWith("hf") ? undefined : family,
				target,
			});
			const found = recipes.filter(({ fqn }) => keys.has(fqn)).length / recipes.length;
			if (found > most) [best, most] = [id, found];
		} catch (error) {
			if (!isHfStreamDcpError(error)) throw error;
		}
	}
	return most > 0.5 ? best : undefined;
}
