import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 as zlibCrc32 } from "node:zlib";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CHECKSUMS, crc32 } from "../../src/checksum/crc32.ts";

const MODULE = join(import.meta.dirname, "../../dist/src/checksum/crc32.js");

describe.skipIf(CHECKSUMS !== "native")("native crc32 (needs @node-rs/crc32)", () => {
	test("gives zlib's values for any bytes at any address, in any number of steps", () => {
		const memory = new Uint8Array(300_000).map((_, i) => (i * 2_654_435_761) >>> 13);
		const bounds = fc
			.array(fc.nat(memory.length), { minLength: 2, maxLength: 6 })
			.map((all) => all.toSorted((a, b) => a - b));
		fc.assert(
			fc.property(bounds, (cuts) => {
				const first = cuts[0] ?? 0;
				const last = cuts.at(-1) ?? 0;
				let stepped = 0;
				for (const [index, end] of cuts.entries()) {
					stepped = crc32(memory.subarray(cuts[index - 1] ?? first, end), stepped);
				}
				const whole = zlibCrc32(memory.subarray(first, last));
				expect(stepped).toBe(whole);
				expect(crc32(memory.subarray(first, last))).toBe(whole);
			}),
			{ numRuns: 200 },
		);
	});

	test("gives zlib's values for text and for nothing", () => {
		for (const text of ["", "journal 1", "Größe €", "\u{1f600}"]) {
			expect(crc32(text)).toBe(zlibCrc32(text));
			expect(crc32(text, 0xdead_beef)).toBe(zlibCrc32(text, 0xdead_beef));
		}
	});
});

test("the check value of CRC-32", () => {
	expect(crc32("123456789")).toBe(0xcbf4_3926);
});

test("where the package is not installed, zlib does it", () => {
	const folder = mkdtempSync(join(tmpdir(), "checksum-"));
	try {
		writeFileSync(join(folder, "package.json"), '{"type":"module"}');
		copyFileSync(MODULE, join(folder, "crc32.js"));
		const require = createRequire(join(folder, "crc32.js"));
		expect(() => require.resolve("@node-rs/crc32")).toThrow(/Cannot find module/);
		const script = `
			import { CHECKSUMS, crc32 } from "./crc32.js";
			const bytes = new Uint8Array(100_000).fill(7);
			const stepped = crc32(bytes.subarray(9), crc32(bytes.subarray(0, 9)));
			console.log(JSON.stringify([CHECKSUMS, crc32(bytes), stepped, crc32("123456789")]));
		`;
		const printed = execFileSync(process.execPath, ["--input-type=module", "--eval", script], {
			cwd: folder,
			encoding: "utf8",
		});
		const whole = crc32(new Uint8Array(100_000).fill(7));
		expect(JSON.parse(printed)).toEqual(["zlib", whole, whole, 0xcbf4_3926]);
	} finally {
		rmSync(folder, { recursive: true });
	}
});
