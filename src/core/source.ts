import type { Dtype } from "./dtype.ts";
import type { Shape } from "./shape.ts";

/** One tensor of the source repository and where its bytes lie. */
export interface SourceTensor {
	readonly name: string;
	readonly dtype: Dtype;
	readonly shape: Shape;
	/** Path of the safetensors file inside the repository. */
	readonly file: string;
	/** First byte, counted from the start of the file (not of the data section). */
	readonly begin: number;
	/** One past the last byte. */
	readonly end: number;
}

/** One safetensors file of the source. */
export interface SourceFile {
	readonly path: string;
	/** Size of the whole file. */
	readonly bytes: number;
	/** Bytes of the length field and the JSON header: where the data section begins. */
	readonly headerBytes: number;
	/** Lower-case hex as the Hub states it, when it does. */
	readonly sha256?: string;
}

/** Everything the plan may know of a model: one commit of one repository, without a weight byte. */
export interface Source {
	/** `org/name`, or the path of a local directory. */
	readonly repo: string;
	/** 40 hex digits; `"local"` for a directory that is no snapshot of a commit. */
	readonly commit: string;
	readonly files: readonly SourceFile[];
	/** Sorted by file, then by `begin`. Names are unique. */
	readonly tensors: readonly SourceTensor[];
	/** Parsed `config.json`; `undefined` when the repository has none. */
	readonly config: unknown;
}
