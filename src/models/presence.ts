import type { Family, Feature, FamilyItem } from "./family.ts";
import type { Indices } from "./numbers.ts";
import { fillPattern, type NameIndex } from "./pattern.ts";
import { templatePatterns } from "./template.ts";

/** Where the rules look for their sources. */
export interface Place {
	/** Of the names that there are. */
	readonly index: NameIndex;
	/** What source names begin with. */
	readonly prefix: string;
	/** Values of the holes around. */
	readonly indices: Indices;
	/** What the target has. */
	readonly features: ReadonlySet<Feature>;
}

/** How many kinds of source tensors of `items` are there. */
export function presence(items: readonly FamilyItem[], place: Place): number {
	return items.reduce((sum, item) => sum + presenceOf(item, place), 0);
}

function presenceOf(item: FamilyItem, place: Place): number {
	switch (item.kind) {
		case "tensor":
			return templatePatterns(item.make).filter((pattern) =>
				place.index.has(place.prefix + fillPattern(pattern, place.indices)),
			).length;
		case "each":
			return presence(item.items, place);
		case "oneOf":
			return item.choices.reduce((sum, choice) => sum + presence(choice, place), 0);
		case "under":
			return presence(item.items, { ...place, prefix: choosePrefix(item, place) });
		case "when":
			return place.features.has(item.feature) ? presence(item.items, place) : 0;
		default:
			return item satisfies never;
	}
}

/** The prefix under which most kinds of source tensors are there; the first of several. */
export function choosePrefix(
	{ prefixes, items }: Pick<Family, "prefixes" | "items">,
	place: Omit<Place, "prefix">,
): string {
	let best = { prefix: "", score: -1 };
	for (const prefix of prefixes) {
		const score = presence(items, { ...place, prefix });
		if (score > best.score) best = { prefix, score };
	}
	return best.prefix;
}

/** Whether `items` are made of no source tensor at all. */
export function isSourceless(items: readonly FamilyItem[]): boolean {
	return items.every((item) => {
		if (item.kind === "tensor") return templatePatterns(item.make).length === 0;
		if (item.kind === "oneOf") return item.choices.every(isSourceless);
		return isSourceless(item.items);
	});
}
