import { HfStreamDcpError } from "../core/errors.ts";
import type { LayoutRules } from "../core/layout.ts";
import type { Family, Feature } from "./family.ts";
import { fillPattern, matchPattern } from "./pattern.ts";
import type { Merge, Release } from "./release.ts";
import { FAMILY_LIVES, type FamilyLife, KNOWN_UNTIL, RELEASES } from "./releases.ts";

/** A `--target` that was understood, for one family. */
export interface ResolvedTarget {
	/** Its one spelling: `torchtitan@2026-06`, `torchtitan@2026-08-18+unfused`, `hf`, `own`. */
	readonly id: string;
	/** Spells a key of the newest release as the target does. */
	readonly spell: (key: string) => string;
	/** Tensors that the target stores as one. */
	readonly merges: readonly Merge[];
	/** Parts of the model that it has besides those that every model has. */
	readonly features: ReadonlySet<Feature>;
	readonly rules: LayoutRules;
	/** Tensors go by the names of the modules of transformers instead of the source's. Of the targets `hf…` only. */
	readonly namesModules?: boolean | undefined;
}

/** The target that keeps the names of the source. */
export const HF_TARGET = "hf";

/** The target that takes the names of the modules of transformers 5. */
export const HF_MODULES = "hf@5";

const HF: ResolvedTarget = {
	id: HF_TARGET,
	spell: (key) => key,
	merges: [],
	features: new Set(),
	rules: {
		kind: "fsdp",
		fusedQkv: false,
		expertThreshold: "fsdp",
		expertTensorParallel: false,
	},
};

/** The target of families that bring keys of their own. */
export const OWN_TARGET = "own";

/** Target of a family when the command names none. */
export const NEWEST_TARGET = "torchtitan";

const TARGET = /^torchtitan(?:@([^+]*))?(?:\+(fused|unfused))?(\+mtp)?$/;
const DATE = /^\d{4}-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12]\d|3[01]))?$/;

/** Whether `target` is one of Hugging Face's names, for which there are no families. */
export function isHfTarget(target: string): boolean {
	return target === HF_TARGET || target === HF_MODULES;
}

/**
 * The target of a command for `family`, which may have keys of its own.
 *
 * @param target - What the command says; `undefined` when it leaves that to the family.
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` when the family does not have that target; as {@link resolveTarget}.
 */
export function targetOf(
	target: string | undefined,
	{ name, layout = "torchtitan" }: Pick<Family, "name" | "layout">,
): ResolvedTarget {
	if (layout === "fsdp") {
		if (target === undefined || target === OWN_TARGET) return { ...HF, id: OWN_TARGET };
		throw new HfStreamDcpError(
			"OPTIONS_INVALID",
			`the family ${name} has keys of its own (its layout is fsdp), and none for ${target}`,
			{ hint: `Leave out --target, or say --target ${OWN_TARGET}.` },
		);
	}
	if (target === OWN_TARGET) {
		throw new HfStreamDcpError(
			"OPTIONS_INVALID",
			`the family ${name} has torchtitan's keys, and no others`,
			{
				hint: `Leave out --target ${OWN_TARGET}: it is for a family file that says "layout": "fsdp".`,
			},
		);
	}
	return resolveTarget(target ?? NEWEST_TARGET, name);
}

/**
 * Resolves `target` for models of `family`.
 *
 * `torchtitan` is the newest release that has the family; `torchtitan@2026-06-20` main as it was on that day,
 * `torchtitan@2026-06` on the first of that month; `+fused` and `+unfused` say whether the model fuses its QKV projections
 * where that is not the release's default, `+mtp` after it that the model has its layers for multi-token prediction. `hf` keeps names,
 * `hf@5` takes those of the modules of transformers 5.
 *
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` when it is not a target, lies outside the known history, or lacks the family.
 */
export function resolveTarget(target: string, family: string): ResolvedTarget {
	if (target === HF_TARGET) return HF;
	if (target === HF_MODULES) return { ...HF, id: HF_MODULES, namesModules: true };
	const match = TARGET.exec(target);
	if (match === null) throw unknownTarget(target);
	const [, date, fusion, mtp] = match;
	const release = date === undefined ? newestWith(family) : releaseAt(target, date, family);
	const resolved = resolveRelease(release, family, target, fusion);
	if (mtp === undefined) return resolved;
	if (!release.mtp.includes(family)) throw noPrediction(target, release, family);
	return {
		...resolved,
		id: `${resolved.id}${mtp}`,
		features: new Set(["mtp"]),
		rules: { ...resolved.rules, predictsTokens: true },
	};
}

function noPrediction(target: string, release: Release, family: string): HfStreamDcpError {
	const first = RELEASES.find((one) => one.mtp.includes(family));
	return new HfStreamDcpError(
		"OPTIONS_INVALID",
		`${target}: torchtitan@${release.id} has no multi-token prediction for ${family}`,
		{
			hint:
				first === undefined
					? "Leave out +mtp."
					: `Leave out +mtp, or use --target torchtitan@${first.id}+mtp, the first that has it.`,
		},
	);
}

function resolveRelease(
	release: Release,
	family: string,
	target: string,
	fusion: string | undefined,
): ResolvedTarget {
	const fusable = release.fusedQkv?.families.includes(family) ? release.fusedQkv : undefined;
	if (fusion === "fused" && fusable === undefined) {
		throw new HfStreamDcpError(
			"OPTIONS_INVALID",
			`${target}: torchtitan@${release.id} has no fused QKV for ${family}`,
			{ hint: "Leave out +fused." },
		);
	}
	const byDefault = fusable?.byDefault ?? false;
	const isFused = fusion === undefined ? byDefault : fusion === "fused";
	const stored = isFused ? (fusable?.stored ?? "separate") : "separate";
	return {
		id: `torchtitan@${idFor(release, family)}${isFused === byDefault ? "" : `+${fusion}`}`,
		spell: (key) => spellAt(release, key),
		merges: stored === "separate" ? [] : stored,
		features: new Set(),
		rules: {
			kind: "torchtitan",
			// A stored wqkv is cut like any column-parallel weight; only its parts would be left whole.
			fusedQkv: isFused && stored === "separate",
			expertThreshold: release.expertThreshold,
			expertTensorParallel: release.expertTensorParallel,
		},
	};
}

function spellAt(release: Release, key: string): string {
	let spelled = key;
	for (const { renames } of RELEASES.slice(RELEASES.indexOf(release) + 1).toReversed()) {
		for (const { before, after } of renames) {
			const bindings = matchPattern(after, spelled);
			if (bindings === undefined) continue;
			spelled = fillPattern(before, bindings);
			break;
		}
	}
	return spelled;
}

/** The id of `release`, or the family's first day where that comes later: what names the same when it is read again. */
function idFor(release: Release, family: string): string {
	const { from = "" } = lifeOf(family);
	return from > dayOf(release.id) ? from : release.id;
}

/** `2026-06-20` itself, `2026-06` the first of that month. */
function dayOf(date: string): string {
	return date.length === 7 ? `${date}-01` : date;
}

function newestWith(family: string): Release {
	const { until } = lifeOf(family);
	const found = RELEASES.findLast(({ from }) => until === undefined || from < until);
	if (found === undefined) throw new Error(`internal error: no release has ${family}`);
	return found;
}

function lifeOf(family: string): FamilyLife {
	return Object.hasOwn(FAMILY_LIVES, family) ? (FAMILY_LIVES[family] ?? {}) : {};
}

function releaseAt(target: string, date: string, family: string): Release {
	if (!DATE.test(date)) throw unknownTarget(target);
	const day = dayOf(date);
	if (day > KNOWN_UNTIL) {
		throw new HfStreamDcpError(
			"OPTIONS_INVALID",
			`${target}: torchtitan's keys are known until ${KNOWN_UNTIL}`,
			{ hint: "Use --target torchtitan if they have not changed since." },
		);
	}
	const found = RELEASES.findLast((release) => release.from <= day);
	if (found === undefined) {
		const oldest = RELEASES[0];
		throw new HfStreamDcpError(
			"OPTIONS_INVALID",
			`${target}: keys of torchtitan before ${oldest?.from} are not supported; they include buffers that no model on the Hub has`,
			{ hint: `The oldest supported target is torchtitan@${oldest?.id}.` },
		);
	}
	assertAlive(target, day, family);
	return found;
}

function assertAlive(target: string, day: string, family: string): void {
	const { from = "", until } = lifeOf(family);
	const isOver = until !== undefined && day >= until;
	if (day >= from && !isOver) return;
	throw new HfStreamDcpError(
		"OPTIONS_INVALID",
		`${target}: ${isOver ? "this release of torchtitan has" : "torchtitan had"} no ${family}${isOver ? "" : ` before ${from}`}`,
		{
			hint: isOver
				? `Use --target torchtitan@${newestWith(family).id}, the last that has it.`
				: `Use --target torchtitan, or a day from ${from} on.`,
		},
	);
}

function unknownTarget(target: string): HfStreamDcpError {
	const ids = RELEASES.map((release) => `torchtitan@${release.id}`).toReversed();
	return new HfStreamDcpError("OPTIONS_INVALID", `there is no target ${JSON.stringify(target)}`, {
		hint: `Targets: torchtitan, ${ids.join(", ")}, any torchtitan@YYYY-MM-DD, each with +fused or +unfused, and with +mtp; hf, hf@5; own.`,
	});
}

/** Every target with one line about it, newest first, for `--help`. */
export function listTargets(): readonly string[] {
	const lines: readonly (readonly [string, string])[] = [
		["torchtitan", "the newest of these that has the model"],
		...RELEASES.toReversed().map(
			({ id, from, summary }) =>
				[`torchtitan@${id}`, `${id === from ? "" : `since ${from}: `}${summary}`] as const,
		),
		["torchtitan@YYYY-MM[-DD]", "main as it was on that day, or on the first of that month"],
		["…+fused, …+unfused", "whether the model fuses QKV, where that is not the default"],
		["…+mtp", "with the layers for multi-token prediction, which are left out otherwise"],
		["hf", "names as in the source, for Hugging Face modules under FSDP2"],
		["hf@5", "names of the modules of transformers 5: experts fused, towers below model."],
		[OWN_TARGET, "keys of a family file that has its own, under FSDP2; its default"],
	];
	const width = Math.max(...lines.map(([id]) => id.length));
	return lines.map(([id, summary]) => `${id.padEnd(width)}  ${summary}`);
}
