import { isHfStreamDcpError } from "../core/errors.ts";
import type { Family } from "./family.ts";
import { chooseFamily, HF_FAMILY } from "./registry.ts";
import { RELEASES } from "./releases.ts";
import { HF_MODULES, HF_TARGET, OWN_TARGET, type ResolvedTarget, resolveTarget } from "./target.ts";

/** What may follow a release; the first is what it does by itself. */
const VARIANTS = ["", "+fused", "+unfused", "+mtp", "+fused+mtp", "+unfused+mtp"] as const;

/**
 * The targets that name or divide the tensors of a model differently, newest first, and last the names of Hugging Face: what is tried when a checkpoint says
 * which names it wants and the user does not.
 *
 * @param family - As the user gives it.
 * @param config - The model's `config.json`.
 */
export function targetsToTry(
	family: string | Family | undefined,
	config: unknown,
): readonly string[] {
	if (family === HF_FAMILY) return [HF_TARGET, HF_MODULES];
	if (typeof family === "object") {
		return family.layout === "fsdp" ? [OWN_TARGET] : spellingsOf(family.name);
	}
	let spellings: readonly string[];
	try {
		spellings = spellingsOf(chooseFamily(family, config).name);
	} catch (error) {
		if (!isHfStreamDcpError(error, "FAMILY_UNKNOWN")) throw error;
		// Whoever maps to it is told why not.
		spellings = ["torchtitan"];
	}
	return family === undefined ? [...spellings, HF_TARGET, HF_MODULES] : spellings;
}

/** Targets of one family, one for each way in which names or tensors differ. */
function spellingsOf(family: string): readonly string[] {
	const found = new Map<string, string>();
	for (const [index, { id }] of [...RELEASES.entries()].toReversed()) {
		const renamings = RELEASES.slice(index + 1).filter(({ renames }) => renames.length > 0).length;
		for (const variant of VARIANTS) {
			const target = `torchtitan@${id}${variant}`;
			const resolved = resolveIfAny(target, family);
			if (resolved === undefined) continue;
			const { merges, features } = resolved;
			const signature = JSON.stringify([renamings, merges, [...features]]);
			if (!found.has(signature)) found.set(signature, resolved.id);
		}
	}
	return [...found.values()];
}

/** `undefined` where the release does not have the family, or not in this variant. */
function resolveIfAny(target: string, family: string): ResolvedTarget | undefined {
	try {
		return resolveTarget(target, family);
	} catch (error) {
		if (isHfStreamDcpError(error, "OPTIONS_INVALID")) return undefined;
		throw error;
	}
}
