import type { LintFinding } from "./types.ts";

/** Examples that a finding shows. */
const MOST_EXAMPLES = 8;

/** What a finding says, with every tensor, key or file that it is about. */
export interface FindingInput extends Omit<LintFinding, "count" | "examples"> {
	/** With what is to be said of each; a finding without any is left out. */
	readonly all: readonly string[];
}

/** A finding that shows the first examples; none when there is nothing to show. */
export function finding({ all, ...rest }: FindingInput): readonly LintFinding[] {
	if (all.length === 0) return [];
	return [{ ...rest, count: all.length, examples: all.slice(0, MOST_EXAMPLES) }];
}

/** `3 tensors`, `1 tensor`. */
export function plural(count: number, one: string, many = `${one}s`): string {
	return `${count} ${count === 1 ? one : many}`;
}
