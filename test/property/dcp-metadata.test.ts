import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isHfStreamDcpError } from "../../src/core/errors.ts";
import { decodeMetadata } from "../../src/dcp/metadata-reader.ts";
import { encodeMetadata } from "../../src/dcp/metadata-writer.ts";
import { METADATA_GLOBALS } from "../../src/dcp/python-names.ts";
import { unpickle } from "../../src/dcp/unpickler.ts";
import { arbitraryIndex } from "../support/dcp-arbitrary.ts";

const FIXTURES = new URL("../fixtures/dcp/", import.meta.url);

test("what is written is read back", () => {
	fc.assert(
		fc.property(arbitraryIndex, (index) => {
			const { tensors, objects, plannerPaths } = decodeMetadata(encodeMetadata(index), "m");
			expect({ tensors, objects }).toEqual(index);
			const fqns = [...index.tensors, ...index.objects].map(({ fqn }) => fqn);
			expect(plannerPaths).toEqual(fqns.map((fqn) => ({ fqn, path: [fqn] })));
		}),
	);
});

/** Either a result, or one of our errors: never a crash, a hang or another exception. */
function readsOrRefuses(bytes: Uint8Array): void {
	try {
		decodeMetadata(bytes, "m");
	} catch (error) {
		if (!isHfStreamDcpError(error, "CHECKPOINT_CORRUPT", "DTYPE_UNSUPPORTED")) throw error;
	}
}

describe("damaged metadata is read or refused, never worse", () => {
	const real = readFileSync(new URL("real_small/.metadata", FIXTURES));
	const ours = readFileSync(new URL("minimal_841.metadata", FIXTURES));

	test.each([
		["torch's", real],
		["ours", ours],
	])("%s, cut anywhere", (_, bytes) => {
		for (let length = 0; length < bytes.length; length++) {
			expect(() => decodeMetadata(bytes.subarray(0, length), "m"), `${length}`).toThrow(
				expect.objectContaining({ code: "CHECKPOINT_CORRUPT" }) as Error,
			);
		}
	});

	test.each([
		["torch's", real],
		["ours", ours],
	])("%s, every bit flipped once", (_, bytes) => {
		const damaged = Uint8Array.from(bytes);
		for (let at = 0; at < bytes.length; at++) {
			for (let bit = 0; bit < 8; bit++) {
				damaged[at] = (bytes[at] ?? 0) ^ (1 << bit);
				readsOrRefuses(damaged);
			}
			damaged[at] = bytes[at] ?? 0;
		}
	});

	test("random bytes, spliced in at random", () => {
		const splice = fc.record({
			at: fc.nat(real.length),
			removed: fc.nat(20),
			added: fc.uint8Array({ maxLength: 20 }),
		});
		fc.assert(
			fc.property(fc.array(splice, { maxLength: 4 }), (splices) => {
				let bytes = [...real];
				for (const { at, removed, added } of splices) {
					bytes = [...bytes.slice(0, at), ...added, ...bytes.slice(at + removed)];
				}
				readsOrRefuses(Uint8Array.from(bytes));
			}),
			{ numRuns: 300 },
		);
	});
});

test("random operations never break the unpickler", () => {
	const options = { what: "p", globals: METADATA_GLOBALS, maxObjects: 1000, maxOperations: 10_000 };
	const operation = fc.constantFrom(
		..."( ) } ] N R b a e s u t 0 1 \x81 \x85 \x86 \x87 \x88 \x8f \x90 \x91 \x93 \x94 Q l q\x00 h\x00".split(
			" ",
		),
		"K\x01",
		"\x8c\x04Size",
		"\x8c\x05torch",
		"ctorch\nSize\n",
		"ccollections\nOrderedDict\n",
	);
	fc.assert(
		fc.property(fc.array(operation, { maxLength: 40 }), (operations) => {
			try {
				unpickle(Buffer.from(`\x80\x04${operations.join("")}.`, "latin1"), options);
			} catch (error) {
				if (!isHfStreamDcpError(error, "CHECKPOINT_CORRUPT")) throw error;
			}
		}),
		{ numRuns: 2000 },
	);
});
