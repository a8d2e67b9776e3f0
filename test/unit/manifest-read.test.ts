import { createHash } from "node:crypto";
import * as fc from "fast-check";
import * as v from "valibot";
import { describe, expect, test } from "vitest";
import { type HfStreamDcpError, isHfStreamDcpError } from "../../src/core/errors.ts";
import { encodeManifest } from "../../src/manifest/encode.ts";
import type { Manifest } from "../../src/manifest/manifest.ts";
import { parseManifest } from "../../src/manifest/read.ts";
import { manifestFile } from "../../src/manifest/schema.ts";
import { arbitraryManifest } from "../support/arbitrary-manifest.ts";

const bounded = { interruptAfterTimeLimit: 10_000 };

function encode(manifest: Manifest): Buffer {
	return Buffer.from([...encodeManifest(manifest)].join(""));
}

function failure(read: () => unknown): HfStreamDcpError {
	try {
		read();
	} catch (error) {
		if (isHfStreamDcpError(error)) return error;
		throw error;
	}
	throw new Error("no error");
}

/** A small one, the same every time. */
function small(): Manifest {
	const [manifest] = fc.sample(arbitraryManifest(), { numRuns: 1, seed: 7 });
	return manifest!;
}

/** The same text with another end: of whoever changes it on purpose. */
function signed(body: string): Buffer {
	const sha256 = createHash("sha256").update(body).digest("hex");
	return Buffer.from(`${body}"sha256":"${sha256}"\n}\n`);
}

/** What becomes of the value at a path: `files.0.bytes`. */
type Change = (value: unknown, within: Record<string, unknown>, key: string) => void;

const set =
	(value: unknown): Change =>
	(_, within, key) => {
		within[key] = value;
	};
const remove: Change = (_, within, key) => delete within[key];
const push =
	(value: unknown): Change =>
	(list) =>
		(list as unknown[]).push(value);
const repeatFirst: Change = (list) => (list as unknown[]).push((list as unknown[])[0]);

/** All but the checksum, changed, and with a checksum that fits. */
function edited(manifest: Manifest, path: string, change: Change): Buffer {
	const file = JSON.parse(encode(manifest).toString()) as Record<string, unknown>;
	const keys = path.split(".");
	const last = keys.pop() ?? "";
	const within = keys.reduce((at, key) => at[key] as Record<string, unknown>, file);
	change(within[last], within, last);
	const { entries, sha256: _, ...head } = file;
	const members = Object.entries(head).map(
		([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)},\n`,
	);
	const rows = (entries as unknown[]).map((row) => JSON.stringify(row)).join(",\n");
	return signed(`{\n${members.join("").slice(0, -1)}\n"entries":[\n${rows}\n],\n`);
}

describe("a manifest", () => {
	test("is read as it was written, and is JSON of the documented form", () => {
		fc.assert(
			fc.property(arbitraryManifest(), (manifest) => {
				const bytes = encode(manifest);
				expect(parseManifest(bytes, "file")).toEqual(manifest);
				const file: unknown = JSON.parse(bytes.toString());
				expect(v.safeParse(manifestFile, file).issues).toBeUndefined();
			}),
			{ numRuns: 60, ...bounded },
		);
	});

	test("is written in pieces, none of them all of it", () => {
		const manifest = small();
		const [tensor] = manifest.tensors;
		const many = Array.from({ length: 60_000 }, () => tensor!.entries[0]!);
		const pieces = [...encodeManifest({ ...manifest, tensors: [{ ...tensor!, entries: many }] })];
		expect(pieces.length).toBeGreaterThan(3);
		for (const piece of pieces) expect(piece.length).toBeLessThan(300_000);
		const { tensors } = parseManifest(Buffer.from(pieces.join("")), "file");
		expect(tensors[0]!.entries).toEqual(many);
	});

	test("of which any bit is another, or the end is missing, is damaged", () => {
		const bytes = encode(small());
		for (let at = 0; at < bytes.length; at++) {
			bytes[at]! ^= 1 << (at % 8);
			const error = failure(() => parseManifest(bytes, "file"));
			expect(error.code, `bit of byte ${at}`).toBe("CHECKPOINT_CORRUPT");
			expect(error.message).toMatch(/^file is damaged: its checksum is wrong|does not end with/);
			bytes[at]! ^= 1 << (at % 8);
		}
		for (let length = 0; length < bytes.length; length++) {
			const cut = failure(() => parseManifest(bytes.subarray(0, length), "file"));
			expect(cut.code, `${length} bytes`).toBe("CHECKPOINT_CORRUPT");
		}
		const longer = Buffer.concat([bytes, Buffer.from("\n")]);
		expect(failure(() => parseManifest(longer, "file")).code).toBe("CHECKPOINT_CORRUPT");
	});

	test.each([
		['{\n"format":"hf-stream-dcp manifest 2",\n', 'file is "hf-stream-dcp manifest 2", not'],
		["{\n", "file is something else, not"],
	])("of another format says which: %j", (body, message) => {
		const error = failure(() => parseManifest(signed(body), "file"));
		expect(error.code).toBe("CHECKPOINT_CORRUPT");
		expect(error.message).toContain(message);
	});
});

/** Changes that the checksum does not show, because it was made after them. */
const FAULTS: readonly (readonly [what: string, path: string, change: Change, message: RegExp])[] =
	[
		["an unknown member", "more", set(1), /more/],
		["a missing member", "planId", remove, /planId/],
		["a name that changes what an object is", "command.prototype", set("x"), /prototype/],
		["such a name in the summary", "summary.command.constructor", set("x"), /constructor/],
		["an identity of other length", "planId", set("0"), /planId/],
		["a negative size", "files.0.bytes", set(-1), /files\.0\.bytes/],
		["ranks beyond the world", "holders.0", set("0-16"), /no ranks/],
		["ranks that descend", "holders.0", set("3-1"), /no ranks/],
		["a source tensor twice", "source.tensors", repeatFirst, /twice/],
		["a source tensor beyond its file", "source.tensors.0.5", set(2 ** 50), /nowhere/],
		["a tensor twice", "tensors", repeatFirst, /there twice/],
		["another shape", "tensors.0.shape", push(1), /another shape or dtype/],
		["another dtype", "tensors.0.dtype", set("int64"), /another shape or dtype/],
		["a recipe of nothing", "source.tensors", set([]), /the source has no/],
		["a recipe that no algebra makes", "tensors.0.recipe.kind", set("sort"), /recipe/],
		["a row too short", "entries.0", set([0, [0], [1], 0, 0, 20]), /7 to 10 columns/],
		["a row too long", "entries.0", push(1), /7 to 10 columns/],
		["no row", "entries.0", set(null), /7 to 10 columns/],
		["an unknown tensor", "entries.0.0", set(99), /its tensor/],
		["a box outside", "entries.0.1.0", set(2), /its box/],
		["a box of other rank", "entries.0.2", push(1), /its box/],
		["an unknown file", "entries.0.3", set(1), /in its file/],
		["a place beyond the file", "entries.0.4", set(2 ** 40), /in its file/],
		["a place that is none", "entries.0.4", set(-1), /no place/],
		["a length that is none", "entries.0.5", set(1.5), /no place/],
		["too short a length", "entries.0.5", set(0), /shorter than its data/],
		["unknown holders", "entries.0.6", set(2), /holders/],
		["too large a CRC", "entries.0.7", set(2 ** 32), /CRC-32/],
		["a hash that is none", "entries.0.8", set("x"), /SHA-256/],
		["ends that are none", "entries.0.9", set(3), /its ends/],
		["a single end", "entries.0.9", set([12]), /its ends/],
		["ends beyond the data", "entries.0.9", set([1, 2 ** 40]), /its ends/],
		["ends that descend", "entries.0.9", set([4, 3, 12]), /its ends/],
	];

/** One tensor of which everything is known. */
function known(): Manifest {
	const manifest = small();
	const box = { offset: [1], size: [3] };
	const sums = { crc32: 1, hash: "0".repeat(64), ends: [4, 12] };
	const entry = { box, file: 0, offset: 0, length: 20, holders: 0, ...sums };
	const recipe = { kind: "source", name: "a", dtype: "float32", shape: [4] } as const;
	const stored = { file: "a/b.safetensors", begin: 8, end: 24 };
	const { repo, commit, files } = manifest.source;
	const source = { ...recipe, ...stored };
	const { kind: _, ...tensor } = source;
	return {
		...manifest,
		source: {
			repo,
			commit,
			files: files.map((file) => ({ ...file, bytes: 24 })),
			tensors: [tensor],
			config: undefined,
		},
		files: [{ name: "__0_0.distcp", bytes: 20 }],
		tensors: [{ fqn: "a", dtype: "float32", shape: [4], recipe, entries: [entry] }],
	};
}

test("a file that is written again with its checksum is as good", () => {
	const same = edited(known(), "planId", (_, within) => within);
	expect(parseManifest(same, "file")).toEqual(known());
});

test.each(FAULTS)("what does not fit together is found: %s", (_, path, change, message) => {
	const error = failure(() => parseManifest(edited(known(), path, change), "file"));
	expect(error.code).toBe("CHECKPOINT_CORRUPT");
	expect(error.message).toMatch(message);
});
