import type { CheckpointIndex } from "../../src/core/checkpoint.ts";
import { itemBytes } from "../../src/core/dtype.ts";
import type { Entry } from "../../src/core/ports.ts";
import { at, numel } from "../../src/core/shape.ts";
import { encodeMetadata } from "../../src/dcp/metadata-writer.ts";
import { encodePrefix, encodeSuffix, torchSaveFormat } from "../../src/dcp/torch-save.ts";
import { crc32 } from "../../src/checksum/crc32.ts";
import { hostileEntry, hostileMetadata, withRecordTwice } from "./hostile-pickles.ts";
import type { Random } from "./random.ts";

/** A checkpoint in memory. */
export interface Snapshot {
	/** All files of its directory. */
	readonly files: ReadonlyMap<string, Buffer>;
	readonly index: CheckpointIndex;
}

/** What damage is made of. */
export interface MutationInputs {
	readonly base: Snapshot;
	/** The same model and layout, from other weights. */
	readonly revision: Snapshot;
	/** The same weights in another layout. */
	readonly relayout: Snapshot;
	/** A hostile pickle makes this folder when it is executed. */
	readonly canary: string;
}

/** Files that become others; `null` for those that disappear. */
export type Damage = ReadonlyMap<string, Uint8Array | null>;

/** A kind of damage, and how often it is tried. */
export interface MutationKind {
	/** As the table in the documents calls it. */
	readonly name: string;
	readonly count: number;
	/** Whether loading it may execute what it says, so that torch has to do it in a process of its own. */
	readonly isHostile?: boolean;
	/** @param turn - 0 for the first of its kind. */
	readonly make: (inputs: MutationInputs, random: Random, turn: number) => Damage;
}

const METADATA = ".metadata";
const MANIFEST = "hf-stream-dcp.json";

/** The key of an object that a mutation adds. */
export const ADDED_OBJECT = "step";

function fileOf({ files }: Snapshot, name: string): Buffer {
	const bytes = files.get(name);
	if (bytes === undefined) throw new Error(`no file ${name}`);
	return bytes;
}

function dataFiles({ files }: Snapshot): string[] {
	return [...files.keys()].filter((name) => name.endsWith(".distcp"));
}

function entriesOf({ index }: Snapshot): Entry[] {
	return index.tensors.flatMap(({ entries }) => entries);
}

function flipped(bytes: Buffer, position: number, random: Random): Buffer {
	const copy = Buffer.from(bytes);
	// Half of the time one bit, else the whole byte.
	const mask = random.below(2) === 0 ? 1 << random.below(8) : 1 + random.below(255);
	copy[position] = at([...copy.subarray(position, position + 1)], 0) ^ mask;
	return copy;
}

/** A byte somewhere in a part of an entry. */
function flipInEntry(part: (entry: Entry) => readonly [start: number, end: number]) {
	return ({ base }: MutationInputs, random: Random): Damage => {
		const entry = random.pick(entriesOf(base));
		const [start, end] = part(entry);
		const position = entry.offset + start + random.below(end - start);
		return new Map([[entry.file, flipped(fileOf(base, entry.file), position, random)]]);
	};
}

interface Parts {
	readonly data: number;
	readonly suffix: number;
	readonly directory: number;
}

/** Where the parts of an entry begin. */
function partsOf({ dtype, box, length }: Entry): Parts {
	const { prefixBytes, dataBytes } = torchSaveFormat.geometry(dtype, box.size);
	const suffix = prefixBytes + dataBytes;
	const bytes = Buffer.from(encodeSuffix(dtype, box.size, 0));
	const directory = suffix + bytes.indexOf(Buffer.from([0x50, 0x4b, 1, 2]));
	if (directory >= length) throw new Error("no directory");
	return { data: prefixBytes, suffix, directory };
}

function flipInFile(name: string) {
	return ({ base }: MutationInputs, random: Random): Damage => {
		const bytes = fileOf(base, name);
		return new Map([[name, flipped(bytes, random.below(bytes.length), random)]]);
	};
}

/** `.metadata` that says something else. */
function withIndex(
	change: (index: CheckpointIndex, random: Random) => CheckpointIndex,
): MutationKind["make"] {
	return ({ base }, random) => new Map([[METADATA, encodeMetadata(change(base.index, random))]]);
}

type Tensor = CheckpointIndex["tensors"][number];

function changeTensor(
	index: CheckpointIndex,
	random: Random,
	wanted: (tensor: Tensor) => boolean,
	change: (tensor: Tensor) => Tensor,
): CheckpointIndex {
	const chosen = random.pick(index.tensors.filter(wanted));
	return {
		...index,
		tensors: index.tensors.map((tensor) => (tensor === chosen ? change(tensor) : tensor)),
	};
}

function changeEntry(
	index: CheckpointIndex,
	random: Random,
	change: (entry: Entry) => Entry,
	wanted: (tensor: Tensor) => boolean = () => true,
): CheckpointIndex {
	return changeTensor(index, random, wanted, (tensor) => {
		const chosen = random.pick(tensor.entries);
		const entries = tensor.entries.map((entry) => (entry === chosen ? change(entry) : entry));
		return { ...tensor, entries };
	});
}

function isCut({ entries }: Tensor): boolean {
	return entries.length > 1;
}

/** Puts the bytes of one entry where another one is. */
function replaced(target: Buffer, entry: Entry, source: Buffer, from: Entry): Buffer {
	const copy = Buffer.from(target);
	source.copy(copy, entry.offset, from.offset, from.offset + from.length);
	return copy;
}

function isAlike(a: Entry, b: Entry): boolean {
	return a.dtype === b.dtype && a.box.size.join() === b.box.size.join();
}

function swapEntries({ base }: MutationInputs, random: Random): Damage {
	const entries = entriesOf(base);
	const dataOf = ({ file, offset, length }: Entry): Buffer =>
		fileOf(base, file).subarray(offset, offset + length);
	const pairs = entries.flatMap((a, index) =>
		entries
			.slice(index + 1)
			.filter((b) => isAlike(a, b) && !dataOf(a).equals(dataOf(b)))
			.map((b) => [a, b] as const),
	);
	const [a, b] = random.pick(pairs);
	const files = new Map([
		[a.file, Buffer.from(fileOf(base, a.file))],
		[b.file, Buffer.from(fileOf(base, b.file))],
	]);
	fileOf(base, b.file).copy(files.get(a.file)!, a.offset, b.offset, b.offset + b.length);
	fileOf(base, a.file).copy(files.get(b.file)!, b.offset, a.offset, a.offset + a.length);
	return files;
}

/** A valid entry of another dtype or shape, of the same length, in the place of one. */
function recast(
	other: (entry: Entry) => Pick<Entry, "dtype"> & { readonly size: readonly number[] },
	wanted: (entry: Entry) => boolean,
) {
	return ({ base }: MutationInputs, random: Random): Damage => {
		const entry = random.pick(entriesOf(base).filter(wanted));
		const { dtype, size } = other(entry);
		const bytes = Buffer.from(fileOf(base, entry.file));
		const { data, suffix } = partsOf(entry);
		const content = bytes.subarray(entry.offset + data, entry.offset + suffix);
		const made = Buffer.concat([
			encodePrefix(dtype, size),
			content,
			encodeSuffix(dtype, size, crc32(content)),
		]);
		if (made.length !== entry.length) throw new Error("another length");
		made.copy(bytes, entry.offset);
		return new Map([[entry.file, bytes]]);
	};
}

/** Writes an entry of any length behind the last one of a file, and names its place in `.metadata`. */
function appended({ base }: MutationInputs, entry: Entry, bytes: Uint8Array): Damage {
	const file = fileOf(base, entry.file);
	const moved = { ...entry, offset: file.length, length: bytes.length };
	const tensors = base.index.tensors.map((tensor) => ({
		...tensor,
		entries: tensor.entries.map((one) => (one === entry ? moved : one)),
	}));
	return new Map<string, Uint8Array>([
		[entry.file, Buffer.concat([file, bytes])],
		[METADATA, encodeMetadata({ ...base.index, tensors })],
	]);
}

function zeroed({ base }: MutationInputs, random: Random): Damage {
	const name = random.pick(dataFiles(base));
	const bytes = Buffer.from(fileOf(base, name));
	const size = random.pick([512, 4096]);
	const start = size * random.below(Math.ceil(bytes.length / size));
	bytes.fill(0, start, Math.min(start + size, bytes.length));
	return new Map([[name, bytes]]);
}

function torn({ base, revision }: MutationInputs, random: Random): Damage {
	const name = random.pick(dataFiles(base));
	const bytes = Buffer.from(fileOf(base, name));
	const start = random.below(bytes.length - 64);
	const end = start + 64 + random.below(bytes.length - start - 64 + 1);
	const other = fileOf(revision, name);
	other.copy(bytes, start, start, end);
	// Both revisions have the same containers; a stretch that holds no data is the same.
	if (bytes.equals(fileOf(base, name))) bytes.fill(0xa5, start, end);
	return new Map([[name, bytes]]);
}

/** Every kind of damage. */
export const MUTATION_KINDS: readonly MutationKind[] = [
	{
		name: "flipped bit or byte in data",
		count: 50,
		make: flipInEntry((entry) => [partsOf(entry).data, partsOf(entry).suffix]),
	},
	{
		name: "… in a header or pickle before the data",
		count: 40,
		make: flipInEntry((entry) => [0, partsOf(entry).data]),
	},
	{
		name: "… in a descriptor or record behind the data",
		count: 40,
		make: flipInEntry((entry) => [partsOf(entry).suffix, partsOf(entry).directory]),
	},
	{
		name: "… in a central directory or end record",
		count: 40,
		make: flipInEntry((entry) => [partsOf(entry).directory, entry.length]),
	},
	{ name: "… in `.metadata`", count: 40, make: flipInFile(METADATA) },
	{ name: "… in the manifest", count: 40, make: flipInFile(MANIFEST) },
	{ name: "zeroed sector or page", count: 25, make: zeroed },
	{ name: "stretch of another revision (torn write)", count: 15, make: torn },
	{
		name: "truncated data file",
		count: 20,
		make({ base }, random) {
			const name = random.pick(dataFiles(base));
			const bytes = fileOf(base, name);
			return new Map([[name, bytes.subarray(0, random.below(bytes.length))]]);
		},
	},
	{
		name: "truncated `.metadata` or manifest",
		count: 12,
		make({ base }, random, turn) {
			const name = turn % 2 === 0 ? METADATA : MANIFEST;
			const bytes = fileOf(base, name);
			return new Map([[name, bytes.subarray(0, random.below(bytes.length))]]);
		},
	},
	{
		name: "extended data file",
		count: 12,
		make({ base }, random) {
			const name = random.pick(dataFiles(base));
			const more = Buffer.alloc(1 + random.below(5000), random.pick([0, 0x5a]));
			return new Map([[name, Buffer.concat([fileOf(base, name), more])]]);
		},
	},
	{
		name: "two files swapped",
		count: 12,
		make({ base }, random) {
			const names = dataFiles(base);
			const first = random.below(names.length);
			const second = (first + 1 + random.below(names.length - 1)) % names.length;
			const [a, b] = [at(names, first), at(names, second)];
			return new Map([
				[a, fileOf(base, b)],
				[b, fileOf(base, a)],
			]);
		},
	},
	{
		name: "missing file",
		count: 6,
		make({ base }, _, turn) {
			const names = [...dataFiles(base), METADATA, MANIFEST];
			return new Map([[at(names, turn % names.length), null]]);
		},
	},
	{
		name: "chunk missing in `.metadata`",
		count: 15,
		make: withIndex((index, random) =>
			changeTensor(index, random, isCut, (tensor) => {
				const lost = random.pick(tensor.entries);
				return { ...tensor, entries: tensor.entries.filter((entry) => entry !== lost) };
			}),
		),
	},
	{
		name: "chunks that overlap in `.metadata`",
		count: 15,
		make: withIndex((index, random) =>
			changeTensor(index, random, isCut, (tensor) => {
				const place = 1 + random.below(tensor.entries.length - 1);
				const [before, moved] = [at(tensor.entries, place - 1), at(tensor.entries, place)];
				const offset = moved.box.offset.map((start, axis) =>
					start > at(before.box.offset, axis) ? start - 1 : start,
				);
				const entries = tensor.entries.map((entry) =>
					entry === moved ? { ...entry, box: { ...entry.box, offset } } : entry,
				);
				return { ...tensor, entries };
			}),
		),
	},
	{
		name: "wrong dtype in `.metadata`",
		count: 12,
		make: withIndex((index, random) => {
			const dtype = random.pick(["float16", "bfloat16", "int32", "uint8", "float64"] as const);
			return changeTensor(
				index,
				random,
				(tensor) => tensor.dtype !== dtype,
				(tensor) => ({ ...tensor, dtype }),
			);
		}),
	},
	{
		name: "wrong shape in `.metadata`",
		count: 15,
		make: withIndex((index, random) =>
			changeTensor(
				index,
				random,
				({ shape }) => shape.length > 0,
				(tensor) => {
					const axis = random.below(tensor.shape.length);
					const shape = tensor.shape.map((size, d) =>
						d === axis ? size + 1 + random.below(3) : size,
					);
					return { ...tensor, shape };
				},
			),
		),
	},
	{
		name: "wrong chunk size in `.metadata`",
		count: 10,
		make: withIndex((index, random) =>
			changeEntry(
				index,
				random,
				(entry) => {
					const axis = entry.box.size.findIndex((size) => size > 1);
					const size = entry.box.size.map((length, d) => (d === axis ? length - 1 : length));
					return { ...entry, box: { ...entry.box, size } };
				},
				({ shape }) => numel(shape) > 4,
			),
		),
	},
	{
		name: "wrong offset, length or file in `.metadata`",
		count: 24,
		make: withIndex((index, random) => {
			const other = random.pick(index.tensors.flatMap(({ entries }) => entries));
			const turn = random.below(4);
			return changeEntry(
				index,
				random,
				(entry) => {
					if (turn === 0) return { ...entry, offset: entry.offset + 1 + random.below(100) };
					if (turn === 1) return { ...entry, length: entry.length - 1 - random.below(100) };
					if (turn === 2) return { ...entry, length: entry.length + 64 };
					return { ...entry, offset: other.offset, length: other.length, file: other.file };
				},
				({ entries }) => !entries.includes(other),
			);
		}),
	},
	{
		name: "`.metadata` of another layout",
		count: 1,
		make: ({ relayout }) => new Map([[METADATA, fileOf(relayout, METADATA)]]),
	},
	{
		name: "manifest of another revision or layout",
		count: 2,
		make: ({ revision, relayout }, _, turn) =>
			new Map([[MANIFEST, fileOf(turn === 0 ? revision : relayout, MANIFEST)]]),
	},
	{
		name: "`.metadata` and manifest of another layout",
		count: 1,
		make: ({ relayout }) =>
			new Map([METADATA, MANIFEST].map((name) => [name, fileOf(relayout, name)])),
	},
	{
		name: "file of another run left over",
		count: 8,
		make({ relayout }, random) {
			const name = random.pick(dataFiles(relayout));
			return new Map([[`__${90 + random.below(9)}_0.distcp`, fileOf(relayout, name)]]);
		},
	},
	{
		name: "file of another run in place of one",
		count: 8,
		make({ base, relayout, revision }, random) {
			const name = random.pick(dataFiles(base));
			const other = random.pick([relayout, revision]);
			const bytes = other.files.get(name) ?? fileOf(revision, name);
			return new Map([[name, bytes]]);
		},
	},
	{
		name: "entry of another revision",
		count: 25,
		make({ base, revision }, random) {
			const entry = random.pick(entriesOf(base));
			const bytes = fileOf(base, entry.file);
			return new Map([[entry.file, replaced(bytes, entry, fileOf(revision, entry.file), entry)]]);
		},
	},
	{ name: "two entries of one shape swapped", count: 20, make: swapEntries },
	{
		name: "entry of another dtype, whole in itself",
		count: 12,
		make: recast(
			({ box }) => ({ dtype: "int32", size: box.size }),
			({ dtype }) => dtype === "float32",
		),
	},
	{
		name: "entry of another shape, whole in itself",
		count: 12,
		make: recast(
			({ dtype, box }) => ({ dtype, size: box.size.toReversed() }),
			({ box: { size } }) => size.length === 2 && size[0] !== size[1],
		),
	},
	{
		name: "entry with a record twice",
		count: 10,
		make(inputs, random) {
			const entry = random.pick(entriesOf(inputs.base));
			const bytes = fileOf(inputs.base, entry.file);
			const whole = bytes.subarray(entry.offset, entry.offset + entry.length);
			return appended(inputs, entry, withRecordTwice(whole));
		},
	},
	{
		name: "hostile pickle in `.metadata`",
		count: 8,
		isHostile: true,
		make: ({ base, canary }, _, turn) =>
			new Map([[METADATA, hostileMetadata(fileOf(base, METADATA), canary, turn)]]),
	},
	{
		name: "hostile pickle in an entry",
		count: 8,
		isHostile: true,
		make(inputs, random, turn) {
			const entry = random.pick(entriesOf(inputs.base));
			const bytes = hostileEntry(
				numel(entry.box.size) * itemBytes(entry.dtype),
				inputs.canary,
				turn,
			);
			return appended(inputs, entry, bytes);
		},
	},
	{
		name: "hostile pickle in an object that was added",
		count: 8,
		isHostile: true,
		make({ base, canary }, random, turn) {
			const name = random.pick(dataFiles(base));
			const file = fileOf(base, name);
			const bytes = hostileEntry(8, canary, turn);
			const object = { fqn: ADDED_OBJECT, file: name, offset: file.length, length: bytes.length };
			return new Map<string, Uint8Array>([
				[name, Buffer.concat([file, bytes])],
				[METADATA, encodeMetadata({ ...base.index, objects: [object] })],
			]);
		},
	},
];
