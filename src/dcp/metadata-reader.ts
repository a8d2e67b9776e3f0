import { boxKey, boxNumel, formatBox } from "../core/box.ts";
import type { CheckpointIndex, CheckpointObject, CheckpointTensor } from "../core/checkpoint.ts";
import { type Dtype, isDtype } from "../core/dtype.ts";
import { HfStreamDcpError } from "../core/errors.ts";
import type { Entry } from "../core/ports.ts";
import { at, formatShape, numel, type Shape, shapesEqual } from "../core/shape.ts";
import { corrupt, quote } from "./corrupt.ts";
import {
	asCount,
	asDict,
	asItems,
	asObject,
	asString,
	attribute,
	globalName,
	isObjectOf,
	type PickleObject,
	type PickleValue,
} from "./pickle-values.ts";
import {
	FILESYSTEM_MODULE,
	METADATA_GLOBALS,
	METADATA_MODULE,
	OLD_METADATA_MODULE,
} from "./python-names.ts";
import { checkRelativePath } from "./relative-path.ts";
import { unpickle } from "./unpickler.ts";

/** Enough for a million chunks in torch's own form, and about 2 GB of memory at the very worst. */
const LIMITS = { maxObjects: 16_000_000, maxOperations: 100_000_000 } as const;
/** torch itself has a limit of 64 dimensions. */
const MAX_DIMENSIONS = 64;
/** Deepest nesting of a state dict that is shown. */
const MAX_PATH_PARTS = 64;

/** Path of a key in the nested state dict: dict keys are strings, list positions numbers. */
export interface PlannerPath {
	readonly fqn: string;
	readonly path: readonly (string | number)[];
}

/** One `.metadata` file as plain data. */
export interface DecodedMetadata extends CheckpointIndex {
	/** Only what unflattens a state dict needs them. Empty when the file has none. */
	readonly plannerPaths: readonly PlannerPath[];
}

interface Place {
	readonly file: string;
	readonly offset: number;
	readonly length: number;
}

/** Places by key, then by offset (`"0,0"`; `"object"` for what is no tensor). */
type Places = ReadonlyMap<string, ReadonlyMap<string, Place>>;

const OBJECT_KEY = "object";

/**
 * Reads the bytes of a `.metadata` file of any torch from 2.1 on, or of ours. Nothing is executed.
 *
 * @param what - Name of the file, for messages.
 * @throws {HfStreamDcpError} `CHECKPOINT_CORRUPT`; `DTYPE_UNSUPPORTED` for a tensor of a dtype we cannot hold.
 */
export function decodeMetadata(bytes: Uint8Array, what: string): DecodedMetadata {
	const value = unpickle(bytes, { what, globals: METADATA_GLOBALS, ...LIMITS });
	const root = asObject(value, what, `${METADATA_MODULE}.Metadata`);
	const places = readPlaces(attribute(root, "storage_data"));
	const items = asDict(attribute(root, "state_dict_metadata"), "state_dict_metadata");
	const tensors = new Map<string, CheckpointTensor>();
	const objects = new Map<string, CheckpointObject>();
	for (const [index, key] of items.keys.entries()) {
		const fqn = asString(key, "a key of state_dict_metadata");
		if (tensors.has(fqn) || objects.has(fqn)) throw corrupt(`key ${quote(fqn)} occurs twice`);
		const item = items.values[index];
		if (isObjectOf(item, `${METADATA_MODULE}.BytesStorageMetadata`)) {
			objects.set(fqn, { fqn, ...placeOf(places, fqn, OBJECT_KEY) });
		} else {
			const tensor = asObject(item, quote(fqn), `${METADATA_MODULE}.TensorStorageMetadata`);
			tensors.set(fqn, readTensor(fqn, tensor, places));
		}
	}
	return {
		tensors: [...tensors.values()],
		objects: [...objects.values()],
		plannerPaths: readPlannerPaths(attribute(root, "planner_data")),
	};
}

function readTensor(fqn: string, object: PickleObject, places: Places): CheckpointTensor {
	const name = quote(fqn);
	const shape = readSize(attribute(object, "size"), `the size of ${name}`);
	const dtype = readDtype(attribute(object, "properties"), name);
	const entries = new Map<string, Entry>();
	for (const value of asItems(attribute(object, "chunks"), `the chunk list of ${name}`)) {
		const chunk = asObject(value, `a chunk of ${name}`, `${METADATA_MODULE}.ChunkStorageMetadata`);
		const offset = readSize(attribute(chunk, "offsets"), `an offset of ${name}`);
		const size = readSize(attribute(chunk, "sizes"), `a chunk size of ${name}`);
		const box = { offset, size };
		const isInside =
			offset.length === shape.length &&
			size.length === shape.length &&
			shape.every((length, axis) => at(offset, axis) + at(size, axis) <= length);
		if (!isInside) {
			throw corrupt(`chunk ${formatBox(box)} of ${name} is not inside ${formatShape(shape)}`);
		}
		const key = offset.join(",");
		// Also keeps a list that names one chunk a million times from taking a million steps per tensor.
		if (entries.has(key)) throw corrupt(`${name} has two chunks at [${key}]`);
		entries.set(key, { fqn, dtype, box, ...placeOf(places, fqn, key) });
	}
	return { fqn, dtype, shape, entries: [...entries.values()] };
}

/** The dtype is the first of the properties, whose state is a tuple. */
function readDtype(value: PickleValue | undefined, name: string): Dtype {
	const properties = asObject(
		value,
		`the properties of ${name}`,
		`${METADATA_MODULE}.TensorProperties`,
		`${OLD_METADATA_MODULE}.TensorProperties`,
	);
	const [first] = asItems(properties.state, `the properties of ${name}`);
	const dtype = globalName(first)?.replace(/^torch\./, "");
	if (dtype === undefined) throw corrupt(`${name} has no dtype`);
	if (isDtype(dtype)) return dtype;
	throw new HfStreamDcpError("DTYPE_UNSUPPORTED", `${name} has dtype ${dtype}`, {
		facts: { dtype },
	});
}

function readPlaces(value: PickleValue | undefined): Places {
	const { keys, values } = asDict(value, "storage_data");
	const places = new Map<string, Map<string, Place>>();
	for (const [position, key] of keys.entries()) {
		const index = asObject(key, "a key of storage_data", `${METADATA_MODULE}.MetadataIndex`);
		const fqn = asString(attribute(index, "fqn"), "the name in a MetadataIndex");
		const offset = attribute(index, "offset") ?? null;
		const box =
			offset === null ? OBJECT_KEY : readSize(offset, `the offset of ${quote(fqn)}`).join(",");
		let ofKey = places.get(fqn);
		if (ofKey === undefined) places.set(fqn, (ofKey = new Map<string, Place>()));
		if (ofKey.has(box)) throw corrupt(`${quote(fqn)} is stored twice at [${box}]`);
		ofKey.set(box, readPlace(values[position], fqn));
	}
	return places;
}

function readPlace(value: PickleValue | undefined, fqn: string): Place {
	const what = `the place of ${quote(fqn)}`;
	const info = asObject(value, what, `${FILESYSTEM_MODULE}._StorageInfo`);
	const offset = asCount(attribute(info, "offset"), what);
	const length = asCount(attribute(info, "length"), what);
	if (!Number.isSafeInteger(offset + length)) throw corrupt(`${what} is no valid range`);
	const file = checkRelativePath(asString(attribute(info, "relative_path"), what));
	const transforms = attribute(info, "transform_descriptors") ?? null;
	if (transforms !== null && asItems(transforms, what).length > 0) {
		const message = `${quote(fqn)} is stored through a transformation (compression), which is not supported`;
		throw new HfStreamDcpError("CHECKPOINT_CORRUPT", message, {
			hint: "Save the checkpoint without FileSystemWriter extensions.",
		});
	}
	return { file, offset, length };
}

function placeOf(places: Places, fqn: string, key: string): Place {
	const place = places.get(fqn)?.get(key);
	if (place === undefined) throw corrupt(`${quote(fqn)} at [${key}] is listed, but stored nowhere`);
	return place;
}

function readPlannerPaths(value: PickleValue | undefined): PlannerPath[] {
	if (value === undefined || value === null) return [];
	const { keys, values } = asDict(value, "planner_data");
	return keys.map((key, index) => {
		const fqn = asString(key, "a key of planner_data");
		const what = `the path of ${quote(fqn)}`;
		const parts = asItems(values[index], what);
		if (parts.length > MAX_PATH_PARTS) throw corrupt(`${what} has ${parts.length} parts`);
		const path = parts.map((part) => (typeof part === "string" ? part : asCount(part, what)));
		return { fqn, path };
	});
}

/** A `torch.Size`, or the plain tuple that torch accepts in its place. */
function readSize(value: PickleValue | undefined, what: string): Shape {
	const sizes = isObjectOf(value, "torch.Size") ? value.args[0] : value;
	const items = asItems(sizes, what);
	if (items.length > MAX_DIMENSIONS) throw corrupt(`${what} has ${items.length} dimensions`);
	return items.map((item) => asCount(item, what));
}

/**
 * One index of the indexes that ranks wrote without talking to one another: replicated chunks occur in several, the first counts.
 *
 * @throws {HfStreamDcpError} `CHECKPOINT_CORRUPT` when they disagree about a tensor.
 */
export function mergeMetadata(parts: readonly DecodedMetadata[]): DecodedMetadata {
	const tensors = new Map<string, { tensor: CheckpointTensor; entries: Map<string, Entry> }>();
	const objects = new Map<string, CheckpointObject>();
	const paths = new Map<string, PlannerPath>();
	for (const part of parts) {
		for (const tensor of part.tensors) {
			const { fqn, dtype, shape } = tensor;
			const known = tensors.get(fqn) ?? { tensor, entries: new Map<string, Entry>() };
			tensors.set(fqn, known);
			if (known.tensor.dtype !== dtype || !shapesEqual(known.tensor.shape, shape)) {
				throw corrupt(`ranks disagree about dtype or shape of ${quote(fqn)}`);
			}
			for (const entry of tensor.entries) {
				const key = boxKey(entry.box);
				if (!known.entries.has(key)) known.entries.set(key, entry);
			}
		}
		for (const object of part.objects)
			if (!objects.has(object.fqn)) objects.set(object.fqn, object);
		for (const path of part.plannerPaths) if (!paths.has(path.fqn)) paths.set(path.fqn, path);
	}
	return {
		tensors: [...tensors.values()].map(({ tensor, entries }) => ({
			...tensor,
			entries: [...entries.values()],
		})),
		objects: [...objects.values()],
		plannerPaths: [...paths.values()],
	};
}

/** Tensors whose chunks do not add up to the whole, one sentence each. torch loads such a checkpoint and leaves old values. */
export function findHoles(tensors: readonly CheckpointTensor[]): string[] {
	return tensors.flatMap(({ fqn, shape, entries }) => {
		const whole = numel(shape);
		const covered = entries.reduce((sum, { box }) => sum + boxNumel(box), 0);
		if (covered === whole) return [];
		return [`the chunks of ${quote(fqn)} hold ${covered} of its ${whole} elements`];
	});
}
