import { Buffer } from "node:buffer";

/** Bytes of a file with this header text (or bytes) and data; `length` overrides what the length field says. */
export function safetensorsFile(
	json: string | Uint8Array,
	data: number | Uint8Array = 0,
	length?: bigint,
): Uint8Array {
	const header = typeof json === "string" ? Buffer.from(json, "utf8") : json;
	const prefix = Buffer.alloc(8);
	prefix.writeBigUInt64LE(length ?? BigInt(header.length));
	return Buffer.concat([prefix, header, typeof data === "number" ? Buffer.alloc(data) : data]);
}

/**
 * What must become of a file. `stricter`: the reference reader takes it and we refuse it, on purpose.
 * `unsupported`: valid, but with a dtype that we cannot hold.
 */
export type Verdict = "accept" | "reject" | "stricter" | "unsupported";

export interface HeaderCase {
	readonly name: string;
	readonly verdict: Verdict;
	readonly bytes: Uint8Array;
}

const F32 = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}';

function tensor(
	dtype: string,
	shape: string,
	begin: number | string,
	end: number | string,
): string {
	return `{"dtype":${dtype},"shape":${shape},"data_offsets":[${begin},${end}]}`;
}

function one(dtype: string, shape: string, begin: number | string, end: number | string): string {
	return `{"a":${tensor(dtype, shape, begin, end)}}`;
}

function extra(value: string): string {
	return `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":${value}}}`;
}

function make(
	name: string,
	verdict: Verdict,
	json: string | Uint8Array,
	data: number | Uint8Array = 0,
	length?: bigint,
): HeaderCase {
	return { name, verdict, bytes: safetensorsFile(json, data, length) };
}

function bytes(...parts: readonly (string | readonly number[])[]): Uint8Array {
	return Buffer.concat(
		parts.map((part) => (typeof part === "string" ? Buffer.from(part) : Buffer.from(part))),
	);
}

/** Dtypes of safetensors 0.8 that we can hold, with their bytes per element. */
const HELD_DTYPES: readonly (readonly [name: string, itemBytes: number])[] = [
	["BOOL", 1],
	["U8", 1],
	["I8", 1],
	["F8_E5M2", 1],
	["F8_E4M3", 1],
	["F8_E8M0", 1],
	["F8_E4M3FNUZ", 1],
	["F8_E5M2FNUZ", 1],
	["I16", 2],
	["U16", 2],
	["F16", 2],
	["BF16", 2],
	["I32", 4],
	["U32", 4],
	["F32", 4],
	["C64", 8],
	["F64", 8],
	["I64", 8],
	["U64", 8],
];

/** Every rule of the format, one file each. The verdicts are compared with the reference reader's in the oracle test. */
export const HEADER_CASES: readonly HeaderCase[] = [
	// The length field.
	{ name: "empty file", verdict: "reject", bytes: new Uint8Array(0) },
	{ name: "seven bytes", verdict: "reject", bytes: new Uint8Array(7) },
	make("length 0", "reject", ""),
	make("length 1", "reject", "{"),
	make("length beyond the file", "reject", "{}", 0, 100n),
	make("length one beyond the file", "reject", "{}", 0, 3n),
	make("length over the limit", "reject", "{}", 0, 100_000_001n),
	make("length 2^63", "reject", "{}", 0, 2n ** 63n),
	make("length 2^64 - 1", "reject", "{}", 0, 2n ** 64n - 1n),
	make("length too short for the JSON", "reject", `{"a":${F32}}`, 4, 20n),
	// Text.
	make("one tensor", "accept", `{"a":${F32}}`, 4),
	make("no tensors", "accept", "{}"),
	make("no tensors, padded", "accept", "{}      "),
	make("no tensors, but data", "reject", "{}", 4),
	make("leading white space", "accept", ` \n\t\r{"a":${F32}}`, 4),
	make("trailing white space", "accept", `{"a":${F32}}\n\r\t `, 4),
	make(
		"white space inside",
		"accept",
		`{ "a" :\n${F32.replaceAll(",", " ,\n").replaceAll("[", "[ ")}}`,
		4,
	),
	make("leading vertical tab", "reject", `\u000b{"a":${F32}}`, 4),
	make("byte order mark", "reject", `\ufeff{"a":${F32}}`, 4),
	make("NUL padding", "reject", `{"a":${F32}}\0\0`, 4),
	make("two documents", "reject", `{"a":${F32}}{}`, 4),
	make("trailing comma", "reject", `{"a":${F32},}`, 4),
	make("comma missing", "reject", `{"a":${F32}"b":${tensor('"F32"', "[0]", 4, 4)}}`, 4),
	make("colon missing", "reject", `{"a"${F32}}`, 4),
	make("single quotes", "reject", `{'a':${F32}}`, 4),
	make("comment", "reject", `{/**/"a":${F32}}`, 4),
	make("array", "reject", "[]"),
	make("null", "reject", "null"),
	make("string", "reject", '"a"'),
	make("ends early", "reject", '{"a":{"dtype":"F32"', 4),
	make("stray 0xff", "reject", bytes('{"__metadata__":{"x":"', [0xff], `"},"a":${F32}}`), 4),
	make("overlong UTF-8", "reject", bytes('{"', [0xc0, 0x80], `":${F32}}`), 4),
	make("surrogate in UTF-8", "reject", bytes('{"', [0xed, 0xa0, 0x80], `":${F32}}`), 4),
	// Names.
	make("empty name", "accept", `{"":${F32}}`, 4),
	make("name __proto__", "accept", `{"__proto__":${F32}}`, 4),
	make("name constructor", "accept", `{"constructor":${F32}}`, 4),
	make("name in four-byte UTF-8", "accept", `{"😀é":${F32}}`, 4),
	make("every escape", "accept", `{"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9":${F32}}`, 4),
	make("escaped NUL", "accept", `{"\\u0000":${F32}}`, 4),
	make("escaped surrogate pair", "accept", `{"\\ud83d\\ude00":${F32}}`, 4),
	make("half a pair", "reject", `{"\\ud83d":${F32}}`, 4),
	make("half a pair and text", "reject", `{"\\ud83dx":${F32}}`, 4),
	make("second half alone", "reject", `{"\\ude00":${F32}}`, 4),
	make("unknown escape", "reject", `{"\\x":${F32}}`, 4),
	make("short hex escape", "reject", `{"\\u12":${F32}}`, 4),
	make("line break in a name", "reject", `{"a\n":${F32}}`, 4),
	make("delete in a name", "accept", `{"a\u007f":${F32}}`, 4),
	make("name twice", "stricter", `{"a":${F32},"a":${F32}}`, 4),
	make("name twice, once escaped", "stricter", `{"a":${F32},"\\u0061":${F32}}`, 4),
	// __metadata__.
	make("metadata", "accept", `{"__metadata__":{"format":"pt","":"é"},"a":${F32}}`, 4),
	make("metadata at the end", "accept", `{"a":${F32},"__metadata__":{"format":"pt"}}`, 4),
	make("metadata alone", "accept", '{"__metadata__":{}}'),
	make("metadata null", "accept", `{"__metadata__":null,"a":${F32}}`, 4),
	make("metadata array", "reject", `{"__metadata__":[],"a":${F32}}`, 4),
	make("metadata string", "reject", `{"__metadata__":"pt","a":${F32}}`, 4),
	make("metadata value number", "reject", `{"__metadata__":{"x":1},"a":${F32}}`, 4),
	make("metadata value null", "reject", `{"__metadata__":{"x":null},"a":${F32}}`, 4),
	make("metadata value object", "reject", `{"__metadata__":{"x":{}},"a":${F32}}`, 4),
	make("metadata key twice", "stricter", `{"__metadata__":{"x":"1","x":"2"},"a":${F32}}`, 4),
	make("metadata twice", "reject", `{"__metadata__":{},"__metadata__":{},"a":${F32}}`, 4),
	make("metadata twice, once escaped", "reject", '{"__metadata__":{},"__metadat\\u0061__":{}}'),
	make("metadata null twice", "reject", '{"__metadata__":null,"__metadata__":null}'),
	// Fields of a tensor.
	make(
		"fields in another order",
		"accept",
		'{"a":{"data_offsets":[0,4],"shape":[1],"dtype":"F32"}}',
		4,
	),
	make("tensor null", "reject", '{"a":null}'),
	make("tensor string", "reject", '{"format":"pt"}'),
	make("tensor as array", "stricter", '{"a":["F32",[1],[0,4]]}', 4),
	make("dtype missing", "reject", '{"a":{"shape":[1],"data_offsets":[0,4]}}', 4),
	make("shape missing", "reject", '{"a":{"dtype":"F32","data_offsets":[0,4]}}', 4),
	make("offsets missing", "reject", '{"a":{"dtype":"F32","shape":[1]}}', 4),
	make(
		"dtype twice",
		"reject",
		'{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
		4,
	),
	make(
		"dtype twice, once escaped",
		"reject",
		'{"a":{"dtype":"F32","dtyp\\u0065":"F32","shape":[1],"data_offsets":[0,4]}}',
		4,
	),
	make(
		"shape twice",
		"reject",
		'{"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}}',
		4,
	),
	make(
		"offsets twice",
		"reject",
		'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"data_offsets":[0,4]}}',
		4,
	),
	make("dtype escaped", "accept", one('"F\\u00332"', "[1]", 0, 4), 4),
	// Unknown fields.
	make(
		"unknown fields",
		"accept",
		extra('{"y":[true,false,null,-0,-1.5e-3,1E+2,"\\n"]},"z":[]'),
		4,
	),
	make("unknown field twice", "stricter", extra('1,"x":2'), 4),
	make("key twice in an unknown field", "stricter", extra('{"y":1,"y":2}'), 4),
	make("unknown number too large", "reject", extra("1e400"), 4),
	make("unknown number very small", "accept", extra("1e-400"), 4),
	make("unknown number of 100 digits", "accept", extra("9".repeat(100)), 4),
	make("unknown number of 400 digits", "reject", extra("9".repeat(400)), 4),
	make("unknown NaN", "reject", extra("NaN"), 4),
	make("unknown 1.", "reject", extra("1."), 4),
	make("unknown .5", "reject", extra(".5"), 4),
	make("unknown +1", "reject", extra("+1"), 4),
	make("unknown 01", "reject", extra("01"), 4),
	make("unknown lone minus", "reject", extra("-"), 4),
	make("unknown truth", "reject", extra("truth"), 4),
	make("unknown half a pair", "reject", extra('"\\ud800"'), 4),
	make("nested 127 deep", "accept", extra("[".repeat(125) + "]".repeat(125)), 4),
	make("nested 128 deep", "reject", extra("[".repeat(126) + "]".repeat(126)), 4),
	make("nested 100000 deep", "reject", extra("[".repeat(100_000) + "]".repeat(100_000)), 4),
	// dtypes.
	...HELD_DTYPES.map(([dtype, itemBytes]) =>
		make(`dtype ${dtype}`, "accept", one(`"${dtype}"`, "[3]", 0, 3 * itemBytes), 3 * itemBytes),
	),
	make("dtype F4", "unsupported", one('"F4"', "[8]", 0, 4), 4),
	make("dtype F4, odd count", "reject", one('"F4"', "[7]", 0, 4), 4),
	make("dtype F6_E2M3", "unsupported", one('"F6_E2M3"', "[4]", 0, 3), 3),
	make("dtype F6_E3M2", "unsupported", one('"F6_E3M2"', "[4]", 0, 3), 3),
	make("dtype F6_E3M2, part of a byte", "reject", one('"F6_E3M2"', "[2]", 0, 2), 2),
	make("dtype C128", "reject", one('"C128"', "[1]", 0, 16), 16),
	make("dtype E8M0", "reject", one('"E8M0"', "[4]", 0, 4), 4),
	make("dtype FP4", "reject", one('"FP4"', "[8]", 0, 4), 4),
	make("dtype Q4_K", "reject", one('"Q4_K"', "[8]", 0, 4), 4),
	make("dtype f32", "reject", one('"f32"', "[1]", 0, 4), 4),
	make("dtype toString", "reject", one('"toString"', "[1]", 0, 4), 4),
	make("dtype null", "reject", one("null", "[1]", 0, 4), 4),
	make("dtype number", "reject", one("4", "[1]", 0, 4), 4),
	make("dtype as object", "stricter", one('{"F32":null}', "[1]", 0, 4), 4),
	// Shapes.
	make("no dimensions", "accept", one('"F32"', "[]", 0, 4), 4),
	make("no elements", "accept", one('"F32"', "[3,0,2]", 0, 0)),
	make("shape object", "reject", one('"F32"', '{"0":1}', 0, 4), 4),
	make("shape null", "reject", one('"F32"', "null", 0, 4), 4),
	make("negative dimension", "reject", one('"F32"', "[-1]", 0, 4), 4),
	make("dimension 1.0", "reject", one('"F32"', "[1.0]", 0, 4), 4),
	make("dimension 1e0", "reject", one('"F32"', "[1e0]", 0, 4), 4),
	make("dimension -0", "reject", one('"F32"', "[-0]", 0, 0)),
	make("dimension 01", "reject", one('"F32"', "[01]", 0, 4), 4),
	make("dimension string", "reject", one('"F32"', '["1"]', 0, 4), 4),
	make("dimension 2^53 - 1 of none", "accept", one('"U8"', "[0,9007199254740991]", 0, 0)),
	make("dimension 2^53 of none", "stricter", one('"U8"', "[0,9007199254740992]", 0, 0)),
	make("dimension 2^64 of none", "reject", one('"U8"', "[0,18446744073709551616]", 0, 0)),
	make("overflow of 64 bits", "reject", one('"F32"', "[4294967296,4294967296]", 0, 0)),
	make("overflow before a zero", "reject", one('"F32"', "[1099511627776,1099511627776,0]", 0, 0)),
	make("large before a zero", "stricter", one('"F32"', "[1099511627776,1048576,0]", 0, 0)),
	make("64 dimensions", "accept", one('"F32"', `[${"1,".repeat(63)}1]`, 0, 4), 4),
	make("65 dimensions", "stricter", one('"F32"', `[${"1,".repeat(64)}1]`, 0, 4), 4),
	make("shape smaller than its bytes", "reject", one('"F32"', "[1]", 0, 8), 8),
	make("shape larger than its bytes", "reject", one('"F32"', "[2]", 0, 4), 4),
	// Places.
	make(
		"odd offsets",
		"accept",
		`{"a":${tensor('"U8"', "[1]", 0, 1)},"b":${tensor('"F32"', "[1]", 1, 5)}}`,
		5,
	),
	make("data at an odd place", "accept", `{"a":${F32}} `, 4),
	make("last tensor first", "accept", `{"b":${tensor('"F32"', "[1]", 4, 8)},"a":${F32}}`, 8),
	make(
		"empty tensors between",
		"accept",
		`{"c":${tensor('"F32"', "[0]", 4, 4)},"a":${F32},"b":${tensor('"F32"', "[0]", 0, 0)}}`,
		4,
	),
	make(
		"empty tensor inside another",
		"reject",
		`{"a":${F32},"b":${tensor('"F32"', "[0]", 2, 2)}}`,
		4,
	),
	make("hole", "reject", `{"a":${F32},"b":${tensor('"F32"', "[1]", 8, 12)}}`, 12),
	make("hole at the start", "reject", one('"F32"', "[1]", 4, 8), 8),
	make(
		"overlap",
		"reject",
		`{"a":${tensor('"F32"', "[2]", 0, 8)},"b":${tensor('"F32"', "[1]", 4, 8)}}`,
		8,
	),
	make("same place twice", "reject", `{"a":${F32},"b":${F32}}`, 4),
	make("end before begin", "reject", one('"F32"', "[1]", 4, 0), 4),
	make("one offset", "reject", one('"F32"', "[1]", 0, 4).replace("[0,4]", "[0]"), 4),
	make("three offsets", "reject", one('"F32"', "[1]", 0, "4,4"), 4),
	make("offset 4.0", "reject", one('"F32"', "[1]", 0, "4.0"), 4),
	make("negative offset", "reject", one('"F32"', "[1]", -4, 0), 4),
	make(
		"offsets beyond the file",
		"reject",
		one('"U8"', "[9007199254740991]", 0, "9007199254740991"),
		4,
	),
	make("data too short", "reject", `{"a":${F32}}`, 3),
	make("data too long", "reject", `{"a":${F32}}`, 5),
];
