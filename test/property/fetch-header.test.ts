import { Buffer } from "node:buffer";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DTYPES, type Dtype } from "../../src/core/dtype.ts";
import { isHfStreamDcpError } from "../../src/core/errors.ts";
import { parseSafetensorsHeader } from "../../src/fetch/safetensors-header.ts";
import { isSafePath } from "../../src/fetch/repo-files.ts";
import { parseWeightIndex } from "../../src/fetch/weight-index.ts";
import { safetensorsFile } from "../support/safetensors-cases.ts";

/** A tensor that the model below and the reader must agree on. */
interface ModelTensor {
	readonly name: string;
	readonly dtype: Dtype;
	readonly shape: readonly number[];
	readonly begin: number;
	readonly end: number;
}

function parse(bytes: Uint8Array, fileBytes: number = bytes.length) {
	return parseSafetensorsHeader(bytes, { file: "f", fileBytes });
}

/** What `parse` makes of `bytes`: the tensors, or the code of a typed error. Anything else fails the test. */
function outcome(bytes: Uint8Array): readonly ModelTensor[] | string {
	try {
		const { headerBytes, tensors } = parse(bytes);
		return tensors.map(({ name, dtype, shape, begin, end }) => ({
			name,
			dtype,
			shape,
			begin: begin - headerBytes,
			end: end - headerBytes,
		}));
	} catch (error) {
		if (!isHfStreamDcpError(error, "HEADER_INVALID", "DTYPE_UNSUPPORTED")) throw error;
		return error.code;
	}
}

/** What another reader than ours finds: `JSON.parse`, which is blind to duplicates and to `2.0`. */
function readLoosely(bytes: Uint8Array): readonly ModelTensor[] | undefined {
	const length = Number(Buffer.from(bytes).readBigUInt64LE());
	const text = Buffer.from(bytes.subarray(8, 8 + length)).toString("utf8");
	const entries = Object.entries(JSON.parse(text) as Record<string, Record<string, unknown>>);
	const byName = new Map(Object.entries(DTYPES).map(([name, info]) => [info.safetensors, name]));
	return entries
		.filter(([name]) => name !== "__metadata__")
		.map(([name, { dtype, shape, data_offsets: offsets }]) => {
			const [begin, end] = offsets as [number, number];
			return {
				name,
				dtype: byName.get(dtype as string) as Dtype,
				shape: shape as number[],
				begin,
				end,
			};
		})
		.toSorted((a, b) => a.begin - b.begin || a.end - b.end);
}

const dtypes = fc.constantFrom(...(Object.keys(DTYPES) as Dtype[]));

/** Valid headers: any names, any order, any white space, unknown fields. */
const validFiles = fc
	.record({
		tensors: fc.uniqueArray(
			fc.record({
				name: fc
					.string({ unit: "grapheme", maxLength: 12 })
					.filter((name) => name !== "__metadata__"),
				dtype: dtypes,
				shape: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 }),
				order: fc.integer(),
				extra: fc.option(fc.jsonValue(), { nil: undefined }),
			}),
			{ selector: ({ name }) => name, maxLength: 12 },
		),
		metadata: fc.option(fc.dictionary(fc.string(), fc.string()), { nil: undefined }),
		space: fc.constantFrom("", " ", "\n\t"),
		escape: fc.boolean(),
	})
	.map(({ tensors, metadata, space, escape }) => {
		let position = 0;
		const model = tensors.map(({ name, dtype, shape }): ModelTensor => {
			const begin = position;
			position += shape.reduce((a, b) => a * b, DTYPES[dtype].itemBytes);
			return { name, dtype, shape, begin, end: position };
		});
		const members = model.map(({ name, dtype, shape, begin, end }, i) => {
			const stored = { dtype: DTYPES[dtype].safetensors, shape, data_offsets: [begin, end] };
			const { extra } = tensors[i]!;
			return [
				name,
				extra === undefined ? stored : { extra, ...stored },
				tensors[i]!.order,
			] as const;
		});
		const shuffled = members.toSorted(([, , a], [, , b]) => a - b);
		const all =
			metadata === undefined ? shuffled : [["__metadata__", metadata] as const, ...shuffled];
		// As text and not by `JSON.stringify` of one object, which would sort names that look like numbers.
		const pairs = all.map(([name, value]) => {
			const text = JSON.stringify(value, undefined, space);
			return `${space}${quoted(name, escape)}${space}:${space}${text}${space}`;
		});
		return { bytes: safetensorsFile(`${space}{${pairs.join(",")}}${space}`, position), model };
	});

function quoted(name: string, escape: boolean): string {
	if (!escape) return JSON.stringify(name);
	const units = Array.from({ length: name.length }, (_, i) => name.charCodeAt(i));
	return `"${units.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("")}"`;
}

/** Sorted as the reader must sort; names break the ties of empty tensors. */
function sorted(tensors: readonly ModelTensor[]): readonly ModelTensor[] {
	return tensors.toSorted(
		(a, b) => a.begin - b.begin || a.end - b.end || (a.name < b.name ? -1 : 1),
	);
}

describe("the header reader", () => {
	test("reads every valid header as it was meant", () => {
		fc.assert(
			fc.property(validFiles, ({ bytes, model }) => {
				const read = outcome(bytes);
				if (typeof read === "string") expect.fail(read);
				expect(sorted(read)).toEqual(sorted(model));
			}),
			{ numRuns: 500 },
		);
	});

	test("takes nothing of a damaged header that another reader would take otherwise", () => {
		const edits = fc.array(
			fc.record({
				at: fc.nat(),
				kind: fc.constantFrom("set", "insert", "delete", "repeat"),
				byte: fc.oneof(
					fc.nat(255),
					fc.constantFrom(...Buffer.from('{}[],:"\\0123456789.eE-+ \n\0')),
				),
				length: fc.nat(40),
			}),
			{ minLength: 1, maxLength: 4 },
		);
		let taken = 0;
		fc.assert(
			fc.property(validFiles, edits, fc.boolean(), ({ bytes }, changes, fixLength) => {
				const header = [...bytes];
				for (const { at, kind, byte, length } of changes) {
					const place = at % (header.length + 1);
					const piece = header.slice(place, place + length);
					if (kind === "set") header[Math.min(place, header.length - 1)] = byte;
					if (kind === "insert") header.splice(place, 0, byte);
					if (kind === "delete") header.splice(place, length);
					if (kind === "repeat") header.splice(place, 0, ...piece);
				}
				const damaged = Uint8Array.from(header);
				if (fixLength && damaged.length >= 8) {
					const delta = header.length - bytes.length;
					const length = Number(Buffer.from(bytes).readBigUInt64LE()) + delta;
					if (length >= 0) Buffer.from(damaged.buffer).writeBigUInt64LE(BigInt(length));
				}
				const read = outcome(damaged);
				if (typeof read === "string") return;
				taken++;
				expect(sorted(read)).toEqual(sorted(readLoosely(damaged) ?? []));
			}),
			{ numRuns: 1500 },
		);
		expect(taken).toBeGreaterThan(10);
	});

	test("takes random bytes for what they are", () => {
		fc.assert(
			fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
				const read = outcome(bytes);
				if (typeof read !== "string")
					expect(sorted(read)).toEqual(sorted(readLoosely(bytes) ?? []));
			}),
			{ numRuns: 2000 },
		);
	});

	test("takes random JSON for what it is", () => {
		const names = fc.constantFrom(
			"a",
			"dtype",
			"shape",
			"data_offsets",
			"__metadata__",
			"__proto__",
		);
		const { value } = fc.letrec((tie) => ({
			value: fc.oneof(
				{ depthSize: "small" },
				fc.constantFrom<unknown>(null, true, "F32", "U8", "", 0, 1, 4, -1, 1.5, 2 ** 53),
				fc.array(tie("value"), { maxLength: 3 }),
				fc.dictionary(names, tie("value"), { maxKeys: 4 }),
			),
		}));
		fc.assert(
			fc.property(fc.dictionary(names, value), fc.nat(8), (header, data) => {
				const read = outcome(safetensorsFile(JSON.stringify(header), data));
				expect(Array.isArray(read) || read === "HEADER_INVALID").toBe(true);
			}),
			{ numRuns: 2000 },
		);
	});

	test("needs time and memory in proportion to the header, whatever is in it", () => {
		const size = 2_000_000;
		const hostile = [
			"[".repeat(size),
			'{"a":'.repeat(size / 5),
			`"${"\\u0041".repeat(size / 6)}":1`,
			`"${"\\n".repeat(size / 2)}`,
			"9".repeat(size),
			`{"a":{"dtype":"U8","shape":[${"1,".repeat(size / 2)}1],"data_offsets":[0,1]}}`,
			`{"a":{"x":[${"[],".repeat(size / 3)}1]}}`,
			`{${Array.from({ length: size / 10 }, (_, i) => `"${i}":0`).join(",")}}`,
			`{"a":{"x":{${Array.from({ length: size / 10 }, (_, i) => `"${i}":0`).join(",")}}}}`,
			" ".repeat(size),
		];
		const before = process.memoryUsage.rss();
		const started = performance.now();
		for (const json of hostile) expect(outcome(safetensorsFile(json, 1))).toBe("HEADER_INVALID");
		// Generous for a loaded machine; reading in quadratic time would take hours and gigabytes.
		expect(performance.now() - started).toBeLessThan(20_000);
		expect(process.memoryUsage.rss() - before).toBeLessThan(500e6);
	});
});

/** Parts of paths, harmless and not. */
const pathPieces = fc.array(
	fc.constantFrom(
		"a",
		"..",
		".",
		"/",
		"\\",
		"%2e",
		"%2E",
		"%2f",
		"%5c",
		"%25",
		"%",
		"25",
		"2e",
		"C:",
	),
	{ maxLength: 8 },
);

test("the index reader takes random texts or refuses them by name", () => {
	const paths = pathPieces.map((parts) => `${parts.join("")}.safetensors`);
	const texts = fc.oneof(
		fc.uint8Array({ maxLength: 100 }),
		fc.json().map((text) => Buffer.from(`{"weight_map":${text}}`)),
		fc
			.dictionary(fc.string(), paths)
			.map((map) => Buffer.from(JSON.stringify({ weight_map: map }))),
	);
	fc.assert(
		fc.property(texts, (bytes) => {
			try {
				for (const path of parseWeightIndex(bytes, "i").values())
					expect(isSafePath(path)).toBe(true);
			} catch (error) {
				expect(isHfStreamDcpError(error, "INDEX_INVALID"), String(error)).toBe(true);
			}
		}),
		{ numRuns: 300 },
	);
});

test("a safe path stays below its folder, however it is decoded", () => {
	fc.assert(
		fc.property(pathPieces, (parts) => {
			let path = parts.join("");
			if (!isSafePath(path)) return;
			for (let round = 0; round < 12; round++) {
				const { pathname } = new URL(
					`http://h/root/${path.replaceAll("#", "%23").replaceAll("?", "%3f")}`,
				);
				expect(pathname.startsWith("/root/") && pathname.length > "/root/".length).toBe(true);
				try {
					path = decodeURIComponent(path);
				} catch {
					return;
				}
			}
		}),
		{ numRuns: 3000 },
	);
});
