import type { CheckpointObject } from "../core/checkpoint.ts";
import { quote } from "../dcp/corrupt.ts";
import type { Problem } from "./problem.ts";
import { describeEntry, type StoredEntry, type StoredIndex } from "./stored.ts";

/** What lies in a data file: a chunk of a tensor, or an object. */
export type StoredItem =
	| { readonly kind: "entry"; readonly entry: StoredEntry }
	| { readonly kind: "object"; readonly object: CheckpointObject };

/** A data file and what of its content can be looked at. */
export interface FileLayout {
	readonly name: string;
	/** Its size. */
	readonly bytes: number;
	/** Whole and apart from one another, in the order of their places. */
	readonly items: readonly StoredItem[];
	/** Whole, but lying in others. */
	readonly buried: readonly StoredItem[];
}

/** The file, offset and length of an item. */
export function placeOf(item: StoredItem): Pick<StoredEntry, "fqn" | "file" | "offset" | "length"> {
	return item.kind === "entry" ? item.entry : item.object;
}

/** `"name" [0:4]`, or the name of an object; for messages. */
export function describeItem(item: StoredItem): string {
	return item.kind === "entry" ? describeEntry(item.entry) : quote(item.object.fqn);
}

/**
 * Lays out the data files that are there: whether their sizes fit, and entries lie in them and not in one another.
 *
 * @param sizes - Sizes of the files that are there, by name.
 */
export function layOutFiles(
	{ tensors, objects, files }: StoredIndex,
	sizes: ReadonlyMap<string, number>,
): { readonly layouts: readonly FileLayout[]; readonly problems: readonly Problem[] } {
	const byFile = new Map<string, StoredItem[]>(files.map(({ name }) => [name, []]));
	const add = (item: StoredItem): void => {
		const { file } = placeOf(item);
		const items = byFile.get(file);
		if (items === undefined) byFile.set(file, [item]);
		else items.push(item);
	};
	for (const { entries } of tensors) for (const entry of entries) add({ kind: "entry", entry });
	for (const object of objects) add({ kind: "object", object });
	const expected = new Map(files.map(({ name, bytes }) => [name, bytes]));
	const layouts: FileLayout[] = [];
	const problems: Problem[] = [];
	for (const [name, items] of byFile) {
		const bytes = sizes.get(name);
		if (bytes === undefined) problems.push(...missingFile(name, items));
		else {
			problems.push(...checkSize(name, bytes, expected.get(name), items));
			const laidOut = layOut(name, bytes, items);
			layouts.push(laidOut.layout);
			problems.push(...laidOut.problems);
		}
	}
	return { layouts, problems };
}

function missingFile(name: string, items: readonly StoredItem[]): Problem[] {
	const here = items.filter(isHere);
	const [first] = here;
	// The file of ranks of other machines.
	if (first === undefined && items.length > 0) return [];
	const whose = first === undefined ? "" : `: it holds ${describeMany(here)}`;
	return [{ kind: "missing", message: `${quote(name)} is missing${whose}`, file: name }];
}

function checkSize(
	name: string,
	bytes: number,
	expected: number | undefined,
	items: readonly StoredItem[],
): Problem[] {
	const end = items.reduce((most, item) => Math.max(most, endOf(item)), 0);
	const whole = expected ?? end;
	if (bytes === whole) return [];
	const range = { start: Math.min(bytes, whole), end: Math.max(bytes, whole) };
	const cut = items.filter((item) => isHere(item) && endOf(item) > bytes);
	const what =
		bytes > whole
			? `has ${bytes - whole} bytes more than the ${whole} that it must have`
			: `has ${bytes} of its ${whole} bytes${cut.length === 0 ? "" : `, so that ${describeMany(cut)} ${cut.length === 1 ? "is" : "are"} cut off`}`;
	return [{ kind: "size", message: `${quote(name)} ${what}`, file: name, range }];
}

function layOut(
	name: string,
	bytes: number,
	all: readonly StoredItem[],
): { readonly layout: FileLayout; readonly problems: readonly Problem[] } {
	const whole = all.filter((item) => endOf(item) <= bytes);
	const sorted = whole.toSorted((a, b) => placeOf(a).offset - placeOf(b).offset);
	const items: StoredItem[] = [];
	const buried: StoredItem[] = [];
	const problems: Problem[] = [];
	let last: StoredItem | undefined;
	for (const item of sorted) {
		const { fqn, offset, length } = placeOf(item);
		if (last !== undefined && offset < endOf(last)) {
			const message = `${describeItem(item)} lies in ${describeItem(last)} in ${quote(name)}`;
			const range = { start: offset, end: offset + length };
			problems.push({ kind: "place", message, fqn, file: name, range });
			buried.push(item);
		} else {
			items.push(item);
			last = item;
		}
	}
	return { layout: { name, bytes, items, buried }, problems };
}

function endOf(item: StoredItem): number {
	const { offset, length } = placeOf(item);
	return offset + length;
}

function isHere(item: StoredItem): boolean {
	return item.kind === "object" || !item.entry.isElsewhere;
}

function describeMany(items: readonly StoredItem[]): string {
	const [first] = items;
	if (first === undefined) return "nothing";
	const others = items.length - 1;
	return `${describeItem(first)}${others === 0 ? "" : ` and ${others} more`}`;
}
