import { expect, test } from "vitest";
import type { CheckpointIndex } from "../../src/core/checkpoint.ts";
import { encodeMetadata } from "../../src/dcp/metadata-writer.ts";
import { OP } from "../../src/dcp/pickle-opcodes.ts";
import { torchSaveFormat } from "../../src/dcp/torch-save.ts";
import { readPage } from "../support/markdown.ts";

const PAGE = readPage("docs/dcp-format.md");

/** Bytes of argument after an opcode, for those of which `.metadata` has any; a function where it says so itself. */
const ARGUMENT_BYTES: { readonly [name: string]: number | ((bytes: Buffer) => number) } = {
	proto: 1,
	global: (bytes) => bytes.indexOf("\n", bytes.indexOf("\n") + 1) + 1,
	binunicode: (bytes) => 4 + bytes.readUInt32LE(0),
	binint1: 1,
	binint2: 2,
	binint: 4,
	long1: (bytes) => 1 + bytes.readUInt8(0),
	binput: 1,
	longBinput: 4,
	binget: 1,
	longBinget: 4,
};

/** The opcodes of a pickle, by their names in the docs. */
function opcodesOf(pickle: Uint8Array): ReadonlySet<string> {
	const names = new Map(Object.entries(OP).map(([name, code]) => [code as number, name]));
	const found = new Set<string>();
	const bytes = Buffer.from(pickle);
	for (let at = 0; at < bytes.length;) {
		const name = names.get(bytes.readUInt8(at));
		if (name === undefined) throw new Error(`no opcode at ${at}`);
		found.add(name.replaceAll(/[A-Z]/g, "_$&").toUpperCase());
		const size = ARGUMENT_BYTES[name] ?? 0;
		at += 1 + (typeof size === "number" ? size : size(bytes.subarray(at + 1)));
	}
	return found;
}

/** A checkpoint with something of everything: many chunks, large numbers, every number of dimensions. */
function largeIndex(): CheckpointIndex {
	const tensors = Array.from({ length: 400 }, (_, i) => {
		const shape = [70_000, 300, 3, 2, 5].slice(0, i % 6);
		return {
			fqn: `layers.${i}`,
			dtype: "bfloat16" as const,
			shape,
			entries: [
				{
					fqn: `layers.${i}`,
					dtype: "bfloat16" as const,
					box: { offset: shape.map(() => 0), size: shape },
					file: `__${i}_0.distcp`,
					offset: [0, 100, 1000, 100_000, 2 ** 31, 2 ** 40][i % 6] ?? 0,
					length: 2048,
				},
			],
		};
	});
	return { tensors, objects: [] };
}

test("docs/dcp-format.md lists the opcodes of .metadata, and no others", () => {
	const [, list = ""] = /^\* opcodes: `([^`]+)`/m.exec(PAGE) ?? [];
	expect(new Set(list.split(/\s+/))).toEqual(opcodesOf(encodeMetadata(largeIndex())));
});

test("and where the data of an entry begins", () => {
	expect(PAGE).toContain(
		"(704 bytes for any usual tensor, 768 with eight dimensions or an FP8 dtype)",
	);
	const prefix = (...args: Parameters<typeof torchSaveFormat.geometry>): number =>
		torchSaveFormat.geometry(...args).prefixBytes;
	for (const shape of [[], [1], [4096, 2560], [128, 2048, 5120], [1, 2, 3, 4, 5]]) {
		for (const dtype of ["bfloat16", "float32", "float16", "int64", "bool"] as const) {
			expect(prefix(dtype, shape)).toBe(704);
		}
	}
	expect(prefix("bfloat16", [2, 3, 4, 5, 6, 7, 8, 9])).toBe(768);
	expect(prefix("float8_e4m3fn", [4096, 2560])).toBe(768);
});
