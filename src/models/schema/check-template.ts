import { isRecord, type JsonRecord } from "../json.ts";
import {
	checkNumber,
	checkPattern,
	checkShape,
	HOLE_NAME,
	holesIn,
	type Scope,
} from "./check-text.ts";
import type { Path, Report } from "./issue.ts";

/**
 * Checks a template: holes, names of numbers, and axes against the number of dimensions, as far as it is known.
 *
 * @param rank - Dimensions that the value must have; `undefined` under a reshape, where the source decides.
 */
export function checkTemplate(
	value: unknown,
	path: Path,
	scope: Scope,
	rank: number | undefined,
	report: Report,
): void {
	if (typeof value === "string") return checkPattern(value, path, scope, report);
	if (!isRecord(value)) return;
	const inner = (of: unknown, key: Path, innerScope: Scope, innerRank: number | undefined): void =>
		checkTemplate(of, [...path, ...key], innerScope, innerRank, report);
	switch (value["kind"]) {
		case "slice":
			checkAxis(value, path, rank, report);
			checkSpan(value, path, scope, report);
			return inner(value["of"], ["of"], scope, rank);
		case "permute":
			checkAxes(value["axes"], [...path, "axes"], rank, report);
			return inner(value["of"], ["of"], scope, rankOfAxes(value["axes"]) ?? rank);
		case "reshape":
			checkShape(value["shape"], [...path, "shape"], scope, report);
			checkRank(value["shape"], [...path, "shape"], rank, report);
			return inner(value["of"], ["of"], scope, undefined);
		case "concat":
			checkAxis(value, path, rank, report);
			if (!Array.isArray(value["parts"])) return;
			return value["parts"].forEach((part, index) => inner(part, ["parts", index], scope, rank));
		case "stack":
			checkAxis(value, path, rank, report);
			return checkStack(value, path, scope, rank, report);
		case "fill":
			checkShape(value["shape"], [...path, "shape"], scope, report);
			return checkRank(value["shape"], [...path, "shape"], rank, report);
		case "cast":
			return inner(value["of"], ["of"], scope, rank);
		default:
	}
}

function checkStack(
	value: JsonRecord,
	path: Path,
	scope: Scope,
	rank: number | undefined,
	report: Report,
): void {
	const { over, of } = value;
	checkNumber(value["count"], [...path, "count"], scope, report);
	const holes = new Set(scope.holes);
	if (typeof over === "string") {
		bindHole(over, [...path, "over"], scope, report);
		holes.add(over);
		if (!templateHoles(of).has(over)) {
			report(
				[...path, "of"],
				`nothing in it has the hole {${over}}, so that all parts are the same`,
			);
		}
	}
	const innerRank = rank === undefined ? undefined : rank - 1;
	checkTemplate(of, [...path, "of"], { ...scope, holes }, innerRank, report);
}

/** Checks the name of a hole that something binds. */
export function bindHole(
	name: string,
	path: Path,
	{ holes, numbers }: Scope,
	report: Report,
	isKey = false,
): void {
	if (!HOLE_NAME.test(name)) {
		report(path, `${JSON.stringify(name)} is no name of a hole: lower-case letters`, isKey);
	} else if (holes.has(name)) {
		report(path, `{${name}} is bound already; give this one another name`, isKey);
	} else if (numbers.has(name)) {
		report(path, `${name} is the name of a number already; give the hole another name`, isKey);
	}
}

/** The holes of the source names of a template. */
function templateHoles(value: unknown): ReadonlySet<string> {
	if (typeof value === "string") return new Set(holesIn(value));
	if (Array.isArray(value)) return new Set(value.flatMap((part) => [...templateHoles(part)]));
	if (!isRecord(value)) return new Set();
	return new Set([...templateHoles(value["of"]), ...templateHoles(value["parts"])]);
}

function checkAxis(
	{ axis }: JsonRecord,
	path: Path,
	rank: number | undefined,
	report: Report,
): void {
	if (rank === undefined || typeof axis !== "number" || axis < rank) return;
	report([...path, "axis"], `there is no axis ${axis}: the value has ${dimensions(rank)}`);
}

function checkAxes(axes: unknown, path: Path, rank: number | undefined, report: Report): void {
	// What is no number, the schema refuses.
	if (!Array.isArray(axes) || axes.some((axis) => typeof axis !== "number")) return;
	const isOrder = axes.every((_, axis) => axes.includes(axis));
	if (!isOrder) {
		report(path, `[${axes.join(", ")}] is no order of axes: each of 0 to ${axes.length - 1} once`);
	} else checkRank(axes, path, rank, report);
}

function rankOfAxes(axes: unknown): number | undefined {
	return Array.isArray(axes) ? axes.length : undefined;
}

function checkRank(list: unknown, path: Path, rank: number | undefined, report: Report): void {
	if (rank === undefined || !Array.isArray(list) || list.length === rank) return;
	report(path, `has ${dimensions(list.length)}, but the value must have ${rank}`);
}

function dimensions(rank: number): string {
	return rank === 1 ? "1 dimension" : `${rank} dimensions`;
}

function checkSpan(value: JsonRecord, path: Path, scope: Scope, report: Report): void {
	const { start, end } = value;
	checkNumber(start, [...path, "start"], scope, report);
	checkNumber(end, [...path, "end"], scope, report);
	const ends = [start, end].filter((one) => typeof one === "number" || typeof one === "string");
	const [first, last] = ends;
	if (first === undefined || last === undefined) return;
	const isReversed = typeof first === "number" && typeof last === "number" && last < first;
	if (first === last || isReversed) {
		report([...path, "end"], `from ${first} up to but not including ${last} is nothing`);
	}
}
