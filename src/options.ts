import type { DeviceOption } from "./core/device.ts";
import type { EventListener } from "./core/events.ts";
import type { HashOption } from "./core/ports.ts";
import type { Family } from "./models/family.ts";
import type { ParallelismInput } from "./layout/parallelism.ts";
import type { TargetDtype } from "./plan/create-plan.ts";
import type { ThreadsOption } from "./threads/choose-threads.ts";

/** Environment variables, as in `process.env`. */
export type Environment = { readonly [name: string]: string | undefined };

/** What decides a plan: a model, a target and a mesh. */
export interface ConversionOptions {
	/** `org/name` on the Hub, or the path of a local directory with safetensors files. */
	readonly repo: string;
	/** Branch, tag or commit on the Hub. @default "main" */
	readonly revision?: string | undefined;
	/**
	 * Name of a built-in model family; the path of a family file, `./my-family.json` or `./my-family.mjs`; or a family. Chosen by
	 * `config.json` when left out.
	 */
	readonly family?: string | Family | undefined;
	/**
	 * Name of the key profile: which names and layout rules the trainer uses. @default "torchtitan", and "own" for a family with
	 * `layout: "fsdp"`; with `like`, the one that spells names as that checkpoint does
	 */
	readonly target?: string | undefined;
	/**
	 * What floats are stored as. `keep` leaves them as they are; weights that were quantised become bfloat16. @default as `like` or
	 * `layout` says, otherwise "keep"
	 */
	readonly dtype?: TargetDtype | undefined;
	/** Whether quantised weights and their scales are stored as they are; with the target `hf` alone. @default false */
	readonly keepQuantized: boolean;
	/** Mesh of the training job. @default one rank */
	readonly parallelism: ParallelismInput;
	/**
	 * Directory of a checkpoint of the training job, instead of a mesh: its `.metadata` says which tensors there are, in which blocks, in
	 * the files of which ranks.
	 */
	readonly like?: string | undefined;
	/** A layout file, or a directory of one per rank, instead of a mesh; `docs/layouts.md` describes it. */
	readonly layout?: string | undefined;
	/** Budget of one thread beyond what Node itself takes; half of it, and all but 96 MiB of a large one, are staging, ranges in flight and write buffers. Bytes. @default 268435456 (256 MiB) */
	readonly memoryBytes: number;
	/** Most connections to one origin, of all threads together, each of which may have one; how many are opened follows from what they bring. @default 16 */
	readonly connections: number;
	/**
	 * Threads that fetch and write side by side, each with `memoryBytes` of its own. `auto`: as many as the cores, the memory and the
	 * size of the model make sensible, at most 16. @default "auto"
	 */
	readonly threads: ThreadsOption;
	/**
	 * What reshards: `cpu`; `webgpu`, whatever GPU there is, also one in software; `auto`: a GPU where it is real and expected to pay. The
	 * checkpoint is the same, and a conversion that was stopped goes on with any other. @default "auto"
	 */
	readonly device: DeviceOption;
	/** Workers that share this machine, this one included: `auto` divides the machine among them. @default 1 */
	readonly localWorkers: number;
	/** Where tokens, proxies, the cache and the endpoint are looked up. @default process.env */
	readonly environment?: Environment | undefined;
	/** Stops the work; the call then rejects with `signal.reason`. */
	readonly signal?: AbortSignal | undefined;
	/** Told what happens. One that throws is ignored. */
	readonly onEvent?: EventListener | undefined;
}

/** A conversion and where it goes. */
export interface ConvertOptions extends ConversionOptions {
	/** Directory of the checkpoint; made when missing. */
	readonly out: string;
	/**
	 * The hash of each entry's data in the manifest, beside its CRC-32. It is computed while the data is written and takes 0.6 s of a core
	 * for every GB; `none` saves that. @default "sha256"
	 */
	readonly hash: HashOption;
	/** Whether a finished checkpoint in `out` is replaced. @default false */
	readonly overwrite: boolean;
	/** Which of how many workers of the job this is; `index` counts from 0. @default the only one */
	readonly worker: WorkerIdentity;
	/** Whether this worker also finishes what others left. @default true */
	readonly takeover: boolean;
	/** How long a worker without a sign of life is respected, seconds. @default 60 */
	readonly leaseSeconds: number;
	/** Whether `out` is this worker's own, on a disk that others do not see: it then holds what the worker's ranks need. @default false */
	readonly localOutput: boolean;
	/**
	 * With `localOutput`, the ranks of the training job that this worker writes for, also as text: `0-7,16`. @default worker i of n writes
	 * for ranks i·W/n up to but not including (i + 1)·W/n of W
	 */
	readonly ranks?: readonly number[] | undefined;
}

/** A checkpoint, and the job that is to load it. */
export interface LintOptions extends Pick<
	ConversionOptions,
	| "revision"
	| "family"
	| "target"
	| "dtype"
	| "like"
	| "layout"
	| "environment"
	| "signal"
	| "onEvent"
> {
	/** Of the checkpoint: any that torch's DCP or this program wrote. */
	readonly directory: string;
	/** Mesh of the job. @default what the checkpoint was made for */
	readonly parallelism?: ParallelismInput | undefined;
	/**
	 * Repository or directory of the model, whose headers say which keys, shapes and dtypes the trainer has. @default what the checkpoint's
	 * manifest says; without one, its own tensors
	 */
	readonly model?: string | undefined;
	/** What stands in the checkpoint before the names of the model: `model.`. @default nothing */
	readonly prefix?: string | undefined;
	/** A rank that reads more than this many times what it needs is an error. @default none */
	readonly maxAmplification?: number | undefined;
	/** Buffer of Python's file reader, bytes. @default the block size of the file system, as Python does up to 3.13 */
	readonly readBufferBytes?: number | undefined;
	/** A rank whose costs are wanted tensor by tensor. */
	readonly rank?: number | undefined;
}

/** One of the workers of a job. */
export interface WorkerIdentity {
	/** From 0. */
	readonly index: number;
	readonly count: number;
}

/** Default of `target`: the newest torchtitan profile. A family file may have another. */
export const DEFAULT_TARGET = "torchtitan";

/** Default of `memoryBytes`: 256 MiB. */
export const DEFAULT_MEMORY_BYTES: number = 256 * 1024 * 1024;

/** Default of `connections`. Begins with 4; one connection to the Hub's CDN gives 40–85 MB/s. */
export const DEFAULT_CONNECTIONS = 16;

/** Default of `leaseSeconds`: longer than a network file system is away when it fails over to another server. */
export const DEFAULT_LEASE_SECONDS = 60;
