import { HfStreamDcpError } from "../core/errors.ts";
import type { MisfitTarget, MissingTarget } from "./instantiate.ts";
import { nearest } from "./nearest.ts";

/** Everything about a model's tensors that its family cannot account for. */
export interface Unresolved {
	/** Source tensors that no rule takes and none drops. */
	readonly unmapped: readonly string[];
	/** Target tensors without their sources. */
	readonly missing: readonly MissingTarget[];
	/** Target tensors whose shape or dtype does not fit. */
	readonly misfits: readonly MisfitTarget[];
	/** Keys that more than one rule makes. */
	readonly duplicates: readonly string[];
}

/** Lines of one kind that a message shows before it only counts. */
const SHOWN = 8;

/** Names that are compared for the nearest; enough for the tensors of one model's layers, and bounded for absurd input. */
const COMPARED = 4096;

/** Whether everything is accounted for. */
export function isResolved(unresolved: Unresolved): boolean {
	return Object.values(unresolved).every((list: readonly unknown[]) => list.length === 0);
}

/**
 * One error that lists all of `unresolved`.
 *
 * @param what - `llama4 of 48 layers → torchtitan@2026-06`.
 * @param expected - Source names that the family asked for.
 * @param spell - Spells a target key as the target does.
 */
export function unresolvedError(
	what: string,
	unresolved: Unresolved,
	expected: ReadonlySet<string>,
	spell: (key: string) => string,
): HfStreamDcpError {
	const { unmapped } = unresolved;
	const duplicates = unresolved.duplicates.map(spell);
	const missing = unresolved.missing.map((one) => ({ ...one, targets: one.targets.map(spell) }));
	const misfits = unresolved.misfits.map((one) => ({ ...one, target: spell(one.target) }));
	const known = [...expected].slice(0, COMPARED);
	const spare = unmapped.slice(0, COMPARED);
	const lines = [
		...section(
			"source tensors that fit no rule",
			unmapped,
			(name) => name,
			(name) => withNearest(name, "known", nearest(name, known)),
		),
		...section(
			"target tensors without a source",
			missing,
			({ targets }) => targets.join(),
			({ targets, sources, note }) => {
				const first = sources[0] ?? "";
				const others = sources.length > 1 ? `, ${sources.length - 1} more` : "";
				const needs = targets.length > 1 ? sources.join(" or ") : `${first}${others}`;
				const why = note === undefined ? "" : `; ${note}`;
				return `${targets.join(" or ")} needs ${withNearest(needs, "unused", nearest(first, spare))}${why}`;
			},
		),
		...section("tensors that do not fit config.json or one another", misfits, byTarget, withReason),
		...section(
			"target tensors that are made more than once",
			duplicates,
			(name) => name,
			(name) => name,
		),
	];
	return new HfStreamDcpError("NAMES_UNRESOLVED", [`${what}:`, ...lines].join("\n"), {
		hint: "Nothing was fetched. Check --family, --target and --revision; --target hf keeps every tensor as it is.",
		facts: { unmapped, missing, misfits, duplicates },
	});
}

function byTarget({ target }: MisfitTarget): string {
	return target;
}

function withReason({ target, reason }: MisfitTarget): string {
	return `${target}: ${reason}`;
}

function withNearest(text: string, kind: string, name: string | undefined): string {
	return name === undefined ? text : `${text} (nearest ${kind}: ${name})`;
}

/**
 * A heading and one line for every name that differs in more than its indices; nothing for no items.
 *
 * @param nameOf - By which items are alike.
 * @param describe - The line for the first of those alike.
 */
export function section<T>(
	title: string,
	items: readonly T[],
	nameOf: (item: T) => string,
	describe: (item: T) => string,
): readonly string[] {
	if (items.length === 0) return [];
	const alike = new Map<string, { readonly first: T; count: number }>();
	for (const item of items) {
		const key = nameOf(item).replaceAll(/(?<=\.)\d+(?=\.)/g, "#");
		const group = alike.get(key);
		if (group === undefined) alike.set(key, { first: item, count: 1 });
		else group.count++;
	}
	const lines = [...alike.values()].slice(0, SHOWN).map(({ first, count }) => {
		const others = count > 1 ? `; ${count - 1} more like it` : "";
		return `    ${describe(first)}${others}`;
	});
	const hidden = alike.size - lines.length;
	if (hidden > 0) lines.push(`    … and ${hidden} more kinds of names`);
	return [`  ${title} (${items.length}):`, ...lines];
}
