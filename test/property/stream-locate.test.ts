import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Box, boxNumel, wholeBox } from "../../src/core/box.ts";
import { dequantFp8Block, dequantMxfp4 } from "../../src/core/dequant.ts";
import { itemBytes } from "../../src/core/dtype.ts";
import { permute, slice, source } from "../../src/core/expr.ts";
import type { DequantOp, GatherPiece } from "../../src/core/ports.ts";
import { numel } from "../../src/core/shape.ts";
import { pull } from "../../src/plan/pull.ts";
import { dequant } from "../../src/stream/cpu/dequant.ts";
import { layOut, locate } from "../../src/stream/locate.ts";
import { placeIn, windowsOf } from "../../src/stream/windows.ts";
import { runNaively } from "../support/naive-pieces.ts";
import { randomBytes } from "../support/stream-fakes.ts";

/** Source and target element of everything a piece moves, `first` counted from the start of the staged bytes. */
function moves(piece: GatherPiece, first: number): Map<number, number> {
	let all = [{ from: first, to: piece.targetOffset }];
	for (const dim of piece.dims) {
		all = all.flatMap(({ from, to }) =>
			Array.from({ length: dim.size }, (_, i) => ({
				from: from + i * dim.sourceStride,
				to: to + i * dim.targetStride,
			})),
		);
	}
	return new Map(all.map(({ from, to }) => [to, from]));
}

describe("locate", () => {
	test("finds every element where its range was laid, however the ranges are cut", () => {
		const cases = fc.record({
			sizes: fc.array(fc.integer({ min: 2, max: 6 }), { minLength: 1, maxLength: 3 }),
			gaps: fc.array(fc.nat(3), { minLength: 3, maxLength: 3 }),
			// Which of the bytes that no element uses are staged all the same.
			bridged: fc.infiniteStream(fc.boolean()),
			begin: fc.nat(20),
			offset: fc.nat(4),
			file: fc.nat(2),
			isTransposed: fc.boolean(),
		});
		fc.assert(
			fc.property(cases, ({ sizes, gaps, bridged, begin, offset, file, isTransposed }) => {
				let stride = 1;
				let target = 1;
				const dims = sizes
					.map((size, d) => {
						const dim = { size, sourceStride: stride, targetStride: 0 };
						stride = stride * size + gaps[d]!;
						return dim;
					})
					.toReversed();
				const order = isTransposed ? dims : dims.toReversed();
				const placed = order.map((dim) => {
					const done = { ...dim, targetStride: target };
					target *= dim.size;
					return done;
				});
				const piece: GatherPiece = {
					kind: "gather",
					source: "s",
					sourceDtype: "int16",
					targetDtype: "int16",
					sourceOffset: offset,
					targetOffset: 3,
					dims: placed.toReversed(),
				};
				const wanted = moves(piece, offset);
				const used = new Set(wanted.values());
				const last = Math.max(...used);
				const ranges: { file: number; start: number; end: number }[] = [];
				for (let element = offset; element <= last; element++) {
					if (!used.has(element) && !(bridged.next().value as boolean)) continue;
					const start = begin + element * 2;
					const previous = ranges.at(-1);
					if (previous?.end === start) previous.end += 2;
					else ranges.push({ file, start, end: start + 2 });
				}
				const all = [
					{ file: file - 1, start: 0, end: 77 },
					...ranges,
					{ file: file + 1, start: 0, end: 99 },
				];
				const staged = layOut(all);
				const stagingOf = new Map<number, number>();
				for (const range of staged) {
					if (range.file !== file) continue;
					for (let byte = range.start; byte < range.end; byte++) {
						stagingOf.set(byte, range.stagingOffset + byte - range.start);
					}
				}
				const places = new Map([["s", { file, begin, tied: false }]]);
				const found = new Map<number, number>();
				for (const op of locate([piece], places, staged)) {
					for (const [to, element] of moves(op.piece as GatherPiece, 0)) {
						expect(found.has(to)).toBe(false);
						found.set(to, op.stagingOffset + element * 2);
					}
				}
				expect(found.size).toBe(wanted.size);
				for (const [to, element] of wanted) {
					expect(found.get(to)).toBe(stagingOf.get(begin + element * 2));
				}
			}),
			{ numRuns: 300 },
		);
	});

	test("finds elements and their scales, wherever the ranges of either end", () => {
		const cases = fc.record({
			rows: fc.integer({ min: 1, max: 9 }),
			groups: fc.integer({ min: 1, max: 3 }),
			isPacked: fc.boolean(),
			isTransposed: fc.boolean(),
			corner: fc.tuple(fc.nat(8), fc.nat(95)),
			// Where ranges end, and what lies between them in the staging memory.
			coin: fc.infiniteStream(fc.nat(7)),
		});
		fc.assert(
			fc.property(cases, ({ rows, groups, isPacked, isTransposed, corner, coin }) => {
				const columns = 32 * groups;
				const whole = isPacked
					? dequantMxfp4(
							source("w", "uint8", [rows, groups, 16]),
							source("s", "uint8", [rows, groups]),
						)
					: dequantFp8Block(
							source("w", "float8_e4m3fn", [rows, columns]),
							source("s", "float32", [Math.ceil(rows / 4), Math.ceil(columns / 24)]),
							[4, 24],
						);
				const [top, left] = [corner[0] % rows, corner[1] % columns];
				const part = slice(slice(whole, 0, top, rows), 1, left, columns);
				const expr = isTransposed ? permute(part, [1, 0]) : part;
				const box = wholeBox(expr.shape);
				const files = [whole.weight, whole.scales].map(({ shape, dtype }, file) =>
					randomBytes(numel(shape) * itemBytes(dtype), file + rows),
				);
				const widths = [1, isPacked ? 1 : 4];
				const ranges = files.flatMap((bytes, file) => {
					const ends: number[] = [];
					for (let end = widths[file]!; end < bytes.length; end += widths[file]!) {
						if (coin.next().value === 0) ends.push(end);
					}
					return [...ends, bytes.length].map((end, i) => ({ file, start: ends[i - 1] ?? 0, end }));
				});
				const staged = layOut(
					ranges,
					ranges.map(() => 64 * (coin.next().value as number)),
				);
				const staging = new Uint8Array(4096 * (ranges.length + 1) + 1024);
				for (const { file, start, end, stagingOffset } of staged) {
					staging.set(files[file]!.subarray(start, end), stagingOffset);
				}
				const pieces = pull(expr, box);
				const places = new Map([
					["w", { file: 0, begin: 0, tied: false }],
					["s", { file: 1, begin: 0, tied: false }],
				]);
				const [expected, found] = [0, 0].map(() => new Uint8Array(4 * boxNumel(box)));
				for (const piece of pieces) {
					const read = (name: string, offset: number, bytes: number): Uint8Array =>
						files[places.get(name)!.file]!.subarray(offset, offset + bytes);
					runNaively(piece, read, expected!);
				}
				let count = 0;
				for (const op of locate(pieces, places, staged)) {
					dequant(op as DequantOp, staging, found!);
					count += op.piece.dims.reduce((product, { size }) => product * size, 1);
				}
				expect(count).toBe(boxNumel(box));
				expect(Buffer.from(found!).equals(expected!)).toBe(true);
			}),
			{ numRuns: 300, interruptAfterTimeLimit: 15_000 },
		);
	});

	test("a byte that is not staged is a bug", () => {
		const piece: GatherPiece = {
			kind: "gather",
			source: "s",
			sourceDtype: "int16",
			targetDtype: "int16",
			sourceOffset: 0,
			targetOffset: 0,
			dims: [{ size: 4, sourceStride: 1, targetStride: 1 }],
		};
		const places = new Map([["s", { file: 0, begin: 10, tied: false }]]);
		const staged = layOut([{ file: 0, start: 10, end: 16 }]);
		expect(() => locate([piece], places, staged)).toThrow(/byte 16 of s is not staged/);
	});
});

describe("windowsOf", () => {
	test("cuts a box into contiguous blocks, in order, as large as allowed along one axis", () => {
		const cases = fc.record({
			size: fc.array(fc.integer({ min: 1, max: 6 }), { maxLength: 4 }),
			start: fc.nat(3),
			max: fc.integer({ min: 1, max: 60 }),
		});
		fc.assert(
			fc.property(cases, ({ size, start, max }) => {
				const box: Box = { offset: size.map(() => start), size };
				let next = 0;
				for (const window of windowsOf(box, max)) {
					expect(boxNumel(window)).toBeLessThanOrEqual(max);
					expect(placeIn(box, window)).toBe(next);
					const end = window.offset.map((offset, d) => offset + window.size[d]! - 1);
					const last = placeIn(box, { offset: end, size: [] });
					next += boxNumel(window);
					expect(last).toBe(next - 1);
				}
				expect(next).toBe(boxNumel(box));
			}),
		);
	});
});
