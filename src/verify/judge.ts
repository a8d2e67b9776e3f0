import { quote } from "../dcp/corrupt.ts";
import { hex32 } from "../files/checked-line.ts";
import { dataRangeOf, type EntryVerdict } from "./entry-check.ts";
import type { Problem, ProblemKind } from "./problem.ts";
import { describeEntry, type StoredEntry } from "./stored.ts";

/** What is wrong with the data of an entry. */
export function judgeData(
	entry: StoredEntry,
	verdict: EntryVerdict,
	withData: boolean,
): readonly Problem[] {
	const { content, file } = entry;
	const what = `${describeEntry(entry)} in ${quote(file)}`;
	const data = dataRangeOf(entry.dtype, entry.box.size);
	const range = { start: entry.offset + data.start, end: entry.offset + data.end };
	const problem = (kind: ProblemKind, message: string): Problem[] => [
		{ kind, message: `${what} ${message}`, fqn: entry.fqn, file, range },
	];
	const { crc32, statedCrc32, isCanonical, hash } = verdict;
	const known = content.crc32;
	// What a damaged container states says nothing.
	if (!withData && !isCanonical) return [];
	const found = `CRC-32 ${hex32(crc32)}`;
	if (withData && isCanonical && crc32 !== statedCrc32) {
		const states = known === statedCrc32 || known === undefined ? "" : " of its own container";
		return problem(
			"data",
			`is damaged: its data has ${found} instead of ${hex32(statedCrc32)}${states}`,
		);
	}
	if (known !== undefined && crc32 !== known) {
		const whole = isCanonical ? "holds other data than was written" : "is damaged";
		return problem("data", `${whole}: ${found} instead of ${hex32(known)} of the manifest`);
	}
	if (hash !== undefined && hash !== content.hash) {
		return problem(
			"data",
			"holds other data than was written: it does not have the SHA-256 of the manifest",
		);
	}
	return [];
}

/** What is wrong with an entry of this program's that is not, byte for byte, what this program writes. */
export function judgeForm(entry: StoredEntry, firstDifference: number | undefined): Problem {
	const { fqn, file, offset, length } = entry;
	const start = offset + (firstDifference ?? 0);
	const where = firstDifference === undefined ? "has another length" : `differs at byte ${start}`;
	return {
		kind: "container",
		message: `the container of ${describeEntry(entry)} in ${quote(file)} ${where} from what was written`,
		fqn,
		file,
		range: { start, end: offset + length },
	};
}
