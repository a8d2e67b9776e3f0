import { isRecord, type JsonRecord } from "../json.ts";
import { bindHole, checkTemplate } from "./check-template.ts";
import {
	checkNumber,
	checkPattern,
	checkShape,
	factorsOf,
	holesIn,
	type Scope,
} from "./check-text.ts";
import { formatPath, type Path, type Report } from "./issue.ts";

/** Where an item stands. */
interface Place {
	readonly scope: Scope;
	/** The loops around it: the holes of which a target must have one, so that every round makes another tensor. */
	readonly loops: readonly { readonly hole: string; readonly holes: ReadonlySet<string> }[];
	readonly report: Report;
}

/** Targets by name and by the loops they are in, and where the first of each stands. */
type Targets = Map<string, Path>;

/** Checks the items of a family: holes, numbers, prefixes, choices that nothing can reach, and targets that are made twice. */
export function checkItems(value: unknown, path: Path, scope: Scope, report: Report): void {
	checkList(value, path, { scope, loops: [], report });
}

function checkList(value: unknown, path: Path, place: Place): Targets {
	const targets: Targets = new Map();
	if (!Array.isArray(value)) return targets;
	value.forEach((one, index) => {
		const own = checkItem(one, [...path, index], place);
		for (const [key, at] of own) {
			const before = targets.get(key);
			if (before === undefined) targets.set(key, at);
			else place.report(at, `is made already, by ${formatPath(before.slice(0, -1))}`);
		}
	});
	return targets;
}

function checkItem(value: unknown, path: Path, place: Place): Targets {
	if (!isRecord(value)) return new Map();
	switch (value["kind"]) {
		case "tensor":
			return checkTensor(value, path, place);
		case "each":
			return checkEach(value, path, place);
		case "oneOf":
			return checkOneOf(value["choices"], [...path, "choices"], place);
		case "under":
			checkPrefixes(value["prefixes"], [...path, "prefixes"], place.report);
			return checkList(value["items"], [...path, "items"], place);
		case "when":
			return checkList(value["items"], [...path, "items"], place);
		default:
			return new Map();
	}
}

function checkTensor(value: JsonRecord, path: Path, place: Place): Targets {
	const { scope, report, loops } = place;
	const { target, shape, make, tied } = value;
	checkPattern(target, [...path, "target"], scope, report);
	checkShape(shape, [...path, "shape"], scope, report);
	const rank = Array.isArray(shape) ? shape.length : undefined;
	checkTemplate(make, [...path, "make"], scope, rank, report);
	checkTemplate(tied, [...path, "tied"], scope, rank, report);
	if (typeof target !== "string") return new Map();
	const holes = holesIn(target);
	for (const loop of loops) {
		if (holes.some((hole) => loop.holes.has(hole))) continue;
		const what = `${JSON.stringify(target)} has no {${loop.hole}}`;
		report([...path, "target"], `${what}, so that every round of the loop makes the same tensor`);
	}
	const around = loops.map(({ hole }) => hole).join();
	return new Map([[`${around}|${target}`, [...path, "target"]]]);
}

function checkEach(value: JsonRecord, path: Path, place: Place): Targets {
	const { scope, report, loops } = place;
	const { hole, count, also, items } = value;
	checkNumber(count, [...path, "count"], scope, report);
	const holes = new Set(scope.holes);
	/** Holes that change from round to round. */
	const turning = new Set<string>();
	if (typeof hole === "string") {
		bindHole(hole, [...path, "hole"], scope, report);
		holes.add(hole);
		turning.add(hole);
	}
	for (const [name, text] of isRecord(also) ? Object.entries(also) : []) {
		const at = [...path, "also", name];
		const inner = { ...scope, holes: new Set(holes) };
		bindHole(name, at, inner, report, true);
		checkNumber(text, at, inner, report);
		if (typeof text === "string" && factorsOf(text).names.some((used) => turning.has(used))) {
			turning.add(name);
		}
		holes.add(name);
	}
	const name = typeof hole === "string" ? hole : "";
	const inner: Place = {
		report,
		scope: { ...scope, holes },
		loops: name === "" ? loops : [...loops, { hole: name, holes: turning }],
	};
	const own = checkList(items, [...path, "items"], inner);
	// The same target may be made by two loops over different ranges.
	return new Map([...own].map(([key, at]) => [`${formatPath(path)}|${key}`, at]));
}

function checkOneOf(value: unknown, path: Path, place: Place): Targets {
	const all: Targets = new Map();
	if (!Array.isArray(value)) return all;
	const seen = new Map<string, number>();
	value.forEach((choice, index) => {
		for (const [key, at] of checkList(choice, [...path, index], place)) {
			if (!all.has(key)) all.set(key, at);
		}
		const text = JSON.stringify(choice);
		const before = seen.get(text);
		if (before === undefined) seen.set(text, index);
		else place.report([...path, index], `is never taken: it is the same as choice ${before}`);
	});
	return all;
}

/** Checks prefixes: text without holes, and none that another one of the list makes unreachable. */
export function checkPrefixes(value: unknown, path: Path, report: Report): void {
	if (!Array.isArray(value)) return;
	const seen = new Map<unknown, number>();
	value.forEach((prefix: unknown, index) => {
		const at = [...path, index];
		const before = seen.get(prefix);
		if (before === undefined) seen.set(prefix, index);
		else report(at, `is never taken: it is the same as prefix ${before}`);
		if (typeof prefix === "string" && /[{}*]/.test(prefix)) {
			report(at, `${JSON.stringify(prefix)}: a prefix is plain text, without holes and *`);
		}
	});
}
