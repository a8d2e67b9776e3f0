import type { Box } from "./box.ts";
import type { Dtype } from "./dtype.ts";
import type { DequantDtype, ElementCodec, ScaleCodec } from "./quantisation.ts";
import type { Shape } from "./shape.ts";

/** Bytes `start` up to but not including `end` of a source file. */
export interface ByteRange {
	/** Path inside the repository. */
	readonly file: string;
	readonly start: number;
	readonly end: number;
}

/** Options of one read. */
export interface ReadOptions {
	readonly signal?: AbortSignal | undefined;
}

/** Where source bytes come from: the Hub, a directory, a cache snapshot. */
export interface ByteSource extends AsyncDisposable {
	/**
	 * Fills `into` with exactly the bytes of `range`; `into.length` equals the length of the range.
	 * The caller owns `into` and must not touch it until the promise settles.
	 *
	 * @throws {HfStreamDcpError} a typed error when the bytes cannot be had; `into` is then undefined.
	 */
	readInto(range: ByteRange, into: Uint8Array, options?: ReadOptions): Promise<void>;
}

/** One loop of a strided copy. Strides in elements, not negative. */
export interface PieceDim {
	readonly size: number;
	readonly sourceStride: number;
	readonly targetStride: number;
}

/**
 * A strided gather from one source tensor into one dense box: the unit every back end executes.
 *
 * For every index vector `i` over `dims`:
 * `target[targetOffset + Σ i·targetStride] = convert(source[sourceOffset + Σ i·sourceStride])`.
 * Offsets and strides are in elements of `sourceDtype` and `targetDtype`. When the dtypes are equal the bits are moved
 * untouched; otherwise the value is cast, rounding to nearest even, NaN to the canonical quiet NaN.
 */
export interface GatherPiece {
	readonly kind: "gather";
	/** Name of the source tensor. */
	readonly source: string;
	readonly sourceDtype: Dtype;
	readonly targetDtype: Dtype;
	/** Elements from the start of the source tensor. */
	readonly sourceOffset: number;
	/** Elements from the start of the box. */
	readonly targetOffset: number;
	/** Sorted by `targetStride`, largest first; neighbours that are contiguous on both sides are merged; no size of 1. */
	readonly dims: readonly PieceDim[];
}

/** Elements that no source holds: one constant, written over a strided part of the box. */
export interface FillPiece {
	readonly kind: "fill";
	readonly value: number;
	readonly targetDtype: Dtype;
	readonly targetOffset: number;
	/** As in {@link GatherPiece}; `sourceStride` is 0. */
	readonly dims: readonly PieceDim[];
}

/** One loop of a {@link DequantPiece}. Strides in elements and in scales, not negative. */
export interface DequantDim extends PieceDim {
	readonly scaleStride: number;
}

/**
 * A strided gather of quantised elements, each multiplied by its scale. For every index vector `i` over `dims`:
 * `target[targetOffset + Σ i·targetStride] = round(element[sourceOffset + Σ i·sourceStride] × scale[scaleOffset + Σ i·scaleStride])`.
 * The product is a float32; `round` is a cast as in {@link GatherPiece}. A NaN is the canonical quiet NaN.
 */
export interface DequantPiece {
	readonly kind: "dequant";
	/** Name of the tensor of the elements. */
	readonly source: string;
	readonly codec: ElementCodec;
	/** Name of the tensor of the scales. */
	readonly scales: string;
	readonly scaleCodec: ScaleCodec;
	readonly targetDtype: DequantDtype;
	/** Elements from the start of the tensor; of a packed codec, several to a byte. */
	readonly sourceOffset: number;
	/** Scales from the start of their tensor. */
	readonly scaleOffset: number;
	readonly targetOffset: number;
	/** Sorted and merged as in {@link GatherPiece}, where neighbours are contiguous on all three sides. */
	readonly dims: readonly DequantDim[];
}

/** How a part of a box is made. */
export type Piece = GatherPiece | FillPiece | DequantPiece;

/** A piece with its source bytes found in staging memory. Byte offsets. */
export type ReshardOp = MoveOp | DequantOp;

/** A {@link ReshardOp} that reads at most one source tensor. */
export interface MoveOp {
	readonly piece: GatherPiece | FillPiece;
	/** Byte offset in the staging memory of source element `piece.sourceOffset`. 0 for a fill. */
	readonly stagingOffset: number;
}

/** A {@link ReshardOp} that reads elements and their scales. */
export interface DequantOp {
	readonly piece: DequantPiece;
	/**
	 * Byte offset in the staging memory of element `piece.sourceOffset`; of elements of half a byte, of the byte that holds it: an odd
	 * `piece.sourceOffset` is its upper half.
	 */
	readonly stagingOffset: number;
	/** Byte offset in the staging memory of scale `piece.scaleOffset`. */
	readonly scaleStagingOffset: number;
}

/** Makes target bytes from staged source bytes. */
export interface ReshardBackend extends AsyncDisposable {
	/** Shown in the summary: `cpu`, `cpu (wasm simd)`, `webgpu (NVIDIA H200)`. */
	readonly name: string;
	/**
	 * Memory that the back end works on best, once for a whole run. At most 4 GiB; what it holds is undefined. It begins at a
	 * multiple of 4096 where the platform lets the back end choose. {@link load} and `run` take any other memory as well.
	 */
	allocate(bytes: number): Uint8Array;
	/**
	 * Takes the source bytes of a tile, once all of them are there. They stay as they are, and the caller's, until the result is
	 * disposed of: a device may read them at once, later, or again after a failure.
	 */
	load(staging: Uint8Array): Promise<LoadedStaging>;
}

/** Staged source bytes, ready to be worked on: on a device, those that were uploaded. */
export interface LoadedStaging extends AsyncDisposable {
	/**
	 * Runs `ops` in any order: reads the staging memory, writes `target`, whose first byte is the element that the ops call 0.
	 * Every target byte is written by exactly one op, or the ops leave it as it was.
	 */
	run(ops: readonly ReshardOp[], target: Uint8Array): Promise<void>;
}

/** One stored chunk: which block of which tensor lies where. What DCP's `.metadata` lists. */
export interface Entry {
	/** Name of the tensor in the checkpoint. */
	readonly fqn: string;
	readonly dtype: Dtype;
	/** Block of the global tensor. */
	readonly box: Box;
	/** File name inside the checkpoint directory. */
	readonly file: string;
	/** Where the entry (not its data) begins in the file, bytes. */
	readonly offset: number;
	/** Length of the whole entry: prefix, data and suffix. */
	readonly length: number;
}

/** Lengths of the three parts of an entry, bytes. */
export interface EntryGeometry {
	readonly prefixBytes: number;
	readonly dataBytes: number;
	readonly suffixBytes: number;
}

/** The container an entry's bytes are wrapped in; its lengths depend on dtype and shape alone. */
export interface EntryFormat {
	readonly name: string;
	geometry(dtype: Dtype, shape: Shape): EntryGeometry;
}

/** A hash of an entry's data that no accident and nobody's intent hits. */
export interface StrongHash {
	/** SHA-256, 64 hex digits: of the data, or, where `ends` are given, of the SHA-256 digests of its stretches one after the other. */
	readonly hash: string;
	/** Where the stretches end, bytes from the start of the data, ascending; the last one is its length. Left out for a single one. */
	readonly ends?: readonly number[] | undefined;
}

/** Which {@link StrongHash} is computed while entries are written. */
export type HashOption = "sha256" | "none";

/** What was computed of an entry's data while it was written. */
export interface EntrySums extends Partial<StrongHash> {
	readonly crc32: number;
}

/** An entry whose data is durable. */
export interface FinishedEntry extends EntrySums {
	/** Which of the plan's entries. */
	readonly index: number;
}

/** What a sink did with the bytes it was given. */
export interface WriteCounters {
	/**
	 * Whether the destination takes bytes past the page cache (O_DIRECT). If so, bytes at offset `d` of data that
	 * is long enough to begin on a page (see `core/pages.ts`) are cheapest to write from memory whose address is congruent to `d`
	 * modulo the page.
	 */
	readonly mode: "direct" | "buffered";
	/** Written past the page cache. */
	readonly directBytes: number;
	/** Written into the page cache: all of it in buffered mode, and what does not fill a page in direct mode. */
	readonly bufferedBytes: number;
	/** Write calls to the operating system. */
	readonly calls: number;
	/** Files that accepted to be opened for direct writes and then refused them; they were written through the page cache. */
	readonly refusals: number;
}

/** Where entries go. Positional: entries of one file may be written in any order and interleaved. */
export interface EntrySink extends AsyncDisposable {
	/** Totals so far: bytes whose writes have ended. */
	readonly writes: WriteCounters;
	/** Entries that an earlier run of the same plan finished; `index` counts the plan's entries. */
	isFinished(index: number): boolean;
	/** Writes `bytes` of the entry's data at `offset` (bytes from the start of the data). The memory is free again when it resolves. */
	write(index: number, offset: number, bytes: Uint8Array): Promise<void>;
	/**
	 * Completes the entry: all its data was written and has this CRC-32, and this hash if one was asked for. Durable after the next
	 * {@link flush}.
	 */
	finish(index: number, crc32: number, strong?: StrongHash): Promise<void>;
	/** Makes every finished entry durable and records it in the journal. */
	flush(): Promise<void>;
}
