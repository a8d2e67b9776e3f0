import { describe, expect, test } from "vitest";
import { decodeMetadata } from "../../src/dcp/metadata-reader.ts";
import type { PickleValue } from "../../src/dcp/pickle-values.ts";
import { METADATA_GLOBALS } from "../../src/dcp/python-names.ts";
import { unpickle } from "../../src/dcp/unpickler.ts";

const LIMITS = { maxObjects: 1_000_000, maxOperations: 10_000_000 };

function read(...parts: readonly (string | readonly number[])[]): PickleValue {
	const bytes = Buffer.concat(
		parts.map((part) =>
			typeof part === "string" ? Buffer.from(part, "latin1") : Buffer.from(part),
		),
	);
	return unpickle(bytes, { what: "test", globals: METADATA_GLOBALS, ...LIMITS });
}

const corrupt = (message: string | RegExp): unknown =>
	expect.objectContaining({
		code: "CHECKPOINT_CORRUPT",
		message: expect.stringMatching(message) as string,
	});

/** `80 02 … 2e` around the given operations. */
const pickle = (body: string): string => `\x80\x02${body}.`;

describe("values", () => {
	test.each<[string, string, PickleValue]>([
		["None", "N", null],
		["True", "\x88", true],
		["False", "\x89", false],
		["255", "K\xff", 255],
		["65535", "M\xff\xff", 65_535],
		["-1", "J\xff\xff\xff\xff", -1],
		["0 as LONG1", "\x8a\x00", 0],
		["-256 as LONG1", "\x8a\x02\x00\xff", -256],
		["2^33 as LONG1", "\x8a\x05\x00\x00\x00\x00\x02", 2 ** 33],
		["2^63 as LONG1", "\x8a\x09\0\0\0\0\0\0\0\x80\0", 2n ** 63n],
		["1.5", "G\x3f\xf8\0\0\0\0\0\0", 1.5],
		["text", "X\x03\0\0\0a\xc3\xa9", "aé"],
		["short text", "\x8c\x01a", "a"],
		["long text", "\x8d\x01\0\0\0\0\0\0\0a", "a"],
		["a tuple", "(K\x01K\x02t", { kind: "tuple", items: [1, 2] }],
		["a list", "](K\x01K\x02e", { kind: "list", items: [1, 2] }],
		["a list from a mark", "(K\x01l", { kind: "list", items: [1] }],
		["a set", "\x8f(K\x01\x90", { kind: "set", items: [1] }],
		["a frozenset", "(K\x01\x91", { kind: "set", items: [1] }],
		["a dict", "}(K\x01K\x02u", { kind: "dict", keys: [1], values: [2] }],
		[
			"an OrderedDict",
			"ccollections\nOrderedDict\n)RK\x01Ns",
			{ kind: "dict", keys: [1], values: [null] },
		],
		["memo and pop", "K\x05q\x07K\x060h\x07\x86", { kind: "tuple", items: [5, 5] }],
	])("%s", (_, body, expected) => {
		const opening = body.startsWith("K\x05q") ? "\x80\x02" : "\x80\x05";
		expect(read(opening, body, ".")).toEqual(expected);
	});

	test("an object, its call and its state", () => {
		expect(read(pickle("ctorch\nSize\nK\x01\x85\x85R"))).toEqual({
			kind: "object",
			callable: "torch.Size",
			args: [{ kind: "tuple", items: [1] }],
			state: undefined,
		});
	});
});

describe("nothing executes", () => {
	test.each([
		["os.system, as every exploit has it", "cos\nsystem\n(X\x02\0\0\0idtR"],
		["posix.system", "cposix\nsystem\n(X\x02\0\0\0idtR"],
		["builtins.eval", "cbuiltins\neval\n(X\x01\0\0\x001tR"],
		["getattr", "cbuiltins\ngetattr\n"],
		["os.system by STACK_GLOBAL", "\x8c\x02os\x8c\x06system\x93"],
		["a dotted path through an allowed module", "\x8c\x05torch\x8c\x0cSize.__new__\x93"],
		["an attribute that no checkpoint uses", "ctorch\nload\n"],
	])("%s", (_, body) => {
		expect(() => read(pickle(body))).toThrow(corrupt("does not belong into a checkpoint"));
	});

	test("the error names the global", () => {
		expect(() => read(pickle("cos\nsystem\n"))).toThrow(corrupt('"os.system"'));
	});

	test.each([
		["INST", "(ios\nsystem\n"],
		["OBJ", "(cos\nsystem\no"],
		["EXT1", "\x82\x01"],
		["PERSID", "Pid\n"],
		["NEWOBJ_EX", "\x92"],
		["NEXT_BUFFER", "\x97"],
		["an opcode that Python does not have", "\xff"],
	])("opcode %s", (_, body) => {
		expect(() => read(pickle(body))).toThrow(corrupt(/opcode|does not belong/));
	});

	test("calling a value that is no global", () => {
		expect(() => read(pickle("K\x01)R"))).toThrow(corrupt("calls something"));
		expect(() => read(pickle("ctorch\nSize\nK\x01R"))).toThrow(corrupt("without a tuple"));
	});
});

describe("malformed", () => {
	test.each<[string, string, RegExp]>([
		["empty", "", /ends in the middle/],
		["protocol 0", "I1\n.", /protocol 2 or later/],
		["protocol 9", "\x80\x09N.", /protocol 9/],
		["no STOP", "\x80\x02N", /ends in the middle/],
		["STOP without a value", "\x80\x02.", /more values than it has/],
		["POP below the bottom", "\x80\x020.", /more values than it has/],
		["values taken through a mark", "\x80\x02K\x01K\x02(\x86.", /more values than it has/],
		["no mark", "\x80\x02t.", /no mark/],
		["an unknown memo index", "\x80\x02h\x05.", /never stored/],
		["a state for a tuple", "\x80\x02)}b.", /sets the state of a tuple/],
		["two states", "\x80\x02ctorch\nSize\n)\x81}b}b.", /twice/],
		["items for a tuple", "\x80\x02)K\x01a.", /adds items to a tuple/],
		["a key without a value", "\x80\x02}(K\x01u.", /without a value/],
		["items for a list", "\x80\x02](K\x01K\x01u.", /no dict/],
		["a text longer than the file", "\x80\x02X\xff\xff\xff\x7fabc.", /ends in the middle/],
		["a text of 2^63 bytes", "\x80\x04\x8d\0\0\0\0\0\0\0\x80abc.", /ends in the middle/],
		["bytes longer than the file", "\x80\x03B\xff\xff\xff\xff.", /ends in the middle/],
		["an integer of 255 bytes", `\x80\x02\x8a\xff${"\x01".repeat(255)}.`, /255 bytes/],
		["a module name without an end", `\x80\x02c${"a".repeat(1e6)}`, /without an end/],
	])("%s", (_, bytes, message) => {
		expect(() => read(bytes)).toThrow(corrupt(message));
	});
});

describe("bombs end quickly", () => {
	test("a million nested tuples are read without recursion", () => {
		expect(() => read(pickle(`N${"\x85".repeat(999_000)}`))).not.toThrow();
		expect(() =>
			decodeMetadata(Buffer.from(pickle(`N${"\x85".repeat(1e6)}`), "latin1"), "m"),
		).toThrow(corrupt("no torch.distributed.checkpoint.metadata.Metadata"));
	});

	test("more objects than the limit", () => {
		expect(() => read(pickle("]".repeat(1_000_001)))).toThrow(corrupt("objects"));
	});

	test("more operations than the limit", () => {
		expect(() => read(pickle("N".repeat(10_000_001)))).toThrow(corrupt("operations"));
	});

	test("doubling by reference costs nothing: 2^60 leaves are 60 tuples", () => {
		const doubling = Array.from({ length: 60 }, () => "q\x00h\x00\x86").join("");
		expect(() => read(pickle(`N${doubling}`))).not.toThrow();
	});

	test("a list that contains itself", () => {
		const value = read(pickle("]q\x00h\x00a"));
		expect(value).toMatchObject({ kind: "list" });
	});
});
