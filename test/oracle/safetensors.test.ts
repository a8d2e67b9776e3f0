import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { DTYPES } from "../../src/core/dtype.ts";
import { parseSafetensorsHeader } from "../../src/fetch/safetensors-header.ts";
import { findPython } from "../support/python.ts";
import { HEADER_CASES } from "../support/safetensors-cases.ts";

type ReferenceTensor = readonly [
	name: string,
	dtype: string,
	shape: readonly number[],
	sha: string,
];

const search = findPython(["safetensors"]);
const reason = "skip" in search ? `: ${search.skip}` : "";
const directory = mkdtempSync(join(tmpdir(), "safetensors-oracle-"));
afterAll(() => rmSync(directory, { recursive: true }));

function askReference(...args: readonly string[]): unknown {
	if ("skip" in search) throw new Error(search.skip);
	const script = join(import.meta.dirname, "safetensors_reference.py");
	const { stdout, stderr, status } = spawnSync(search.python, [script, ...args], {
		encoding: "utf8",
		maxBuffer: 2 ** 26,
	});
	if (status !== 0) throw new Error(stderr);
	return JSON.parse(stdout) as unknown;
}

/** Our reading of a file in the form of the reference's, sorted by name. */
function readOurs(bytes: Uint8Array): ReferenceTensor[] {
	const { tensors } = parseSafetensorsHeader(bytes, { file: "m", fileBytes: bytes.length });
	const rows = tensors.map(({ name, dtype, shape, begin, end }): ReferenceTensor => {
		const sha = createHash("sha256").update(bytes.subarray(begin, end)).digest("hex");
		return [name, DTYPES[dtype].safetensors, shape, sha];
	});
	return sortByName(rows);
}

function sortByName(rows: readonly ReferenceTensor[]): ReferenceTensor[] {
	return rows.toSorted(([a], [b]) => (a < b ? -1 : Number(a > b)));
}

describe.skipIf("skip" in search)(`the reference reader of safetensors${reason}`, () => {
	test("agrees with every verdict of the table, and with what is read", () => {
		const paths = HEADER_CASES.map((row, index) => {
			const path = join(directory, `case-${index}.safetensors`);
			writeFileSync(path, row.bytes);
			return path;
		});
		const answers = askReference(...paths) as readonly (readonly ReferenceTensor[] | null)[];
		expect(answers.length).toBe(HEADER_CASES.length);
		for (const [index, { name, verdict, bytes }] of HEADER_CASES.entries()) {
			const answer = answers[index];
			expect.soft(answer === null, name).toBe(verdict === "reject");
			if (verdict === "accept")
				expect.soft(readOurs(bytes), name).toEqual(sortByName(answer ?? []));
		}
	});

	test("writes files that we read as it does", () => {
		const paths = askReference("--write", directory) as readonly string[];
		const answers = askReference(...paths) as readonly (readonly ReferenceTensor[])[];
		for (const [index, path] of paths.entries()) {
			const ours = readOurs(readFileSync(path));
			expect(ours.length).toBeGreaterThan(40);
			expect(ours).toEqual(sortByName(answers[index] ?? []));
		}
	});
});
