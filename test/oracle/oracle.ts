import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { createInterface } from "node:readline";

/** What `server.py` can be asked. Paths are absolute; `expected` is a file that an `expected` job wrote. */
export type OracleJob =
	| { readonly kind: "models"; readonly names: readonly string[]; readonly directory: string }
	| {
			readonly kind: "expected";
			readonly model: string;
			/** Names of torchtitan's release; `null` keeps Hugging Face's. */
			readonly names: "june" | "main" | null;
			readonly file: string;
			readonly dtype?: string;
	  }
	/** Compares the first `layers` layers. */
	| { readonly kind: "adapter"; readonly fixture: string; readonly layers: number }
	| {
			readonly kind: "load";
			readonly layout: string;
			readonly checkpoint: string;
			readonly expected: string;
			/** A disk for each of so many nodes: `checkpoint/0`, `checkpoint/1`, …, of which a rank sees its node's. @default one for all */
			readonly nodes?: number;
			/** Keeps only the first layers of the layout. */
			readonly layers?: number;
			/** Dtype of the trainer's parameters. @default the expected tensors' */
			readonly dtype?: string;
	  }
	| {
			readonly kind: "fsdp2";
			/** One after the other, in the same ranks. `model` is a directory that `transformers` loads. */
			readonly loads: readonly { readonly model: string; readonly checkpoint: string }[];
			readonly world_size: number;
	  }
	/** Shards a model, trains it for a step, saves `checkpoint` as a trainer does, and writes its layout to the folder `dump`. */
	| ({
			readonly kind: "train";
			readonly checkpoint: string;
			readonly dump: string;
	  } & ShardedModel)
	/** Loads all tensors onto ranks × ranks, rows over the first and columns over the second, and saves them to `out`, with an object `step`. */
	| {
			readonly kind: "resave";
			readonly checkpoint: string;
			readonly out: string;
			readonly mesh: readonly [rows: number, columns: number];
			/** Whether matrices lie in memory column by column when they are saved. */
			readonly transposed: boolean;
			readonly step: number;
			/** Adds 1 to the bits of one element. */
			readonly fqn?: string;
			readonly index?: readonly number[];
	  }
	/** Loads the model from a checkpoint whose keys have `prefix`. */
	| ({
			readonly kind: "resume";
			readonly checkpoint: string;
			readonly prefix: string;
	  } & ShardedModel)
	/** The same without training and layout, and loading again, with the first version of FSDP and its `ShardedTensor`s. */
	| ({ readonly kind: "saveFsdp1" | "resumeFsdp1"; readonly checkpoint: string } & ShardedModel)
	/** Writes the layout down with a fake process group, as each of `ranks`. */
	| ({
			readonly kind: "fake";
			readonly ranks: readonly number[];
			readonly dump: string;
	  } & ShardedModel)
	/** Saves tensors placed as in a file of torchtitan's, and more that a trainer saves, and writes their layout to `dump`. */
	| {
			readonly kind: "savePlaced";
			readonly layout: string;
			readonly checkpoint: string;
			readonly dump: string;
			readonly dtype: string;
			readonly layers?: number;
	  }
	/** Tries parameters on a mesh of `fsdp` × `tp` ranks; `tp` and `fsdp` of a case are the dimensions they cut. */
	| {
			readonly kind: "storable";
			readonly fsdp: number;
			readonly tp: number;
			readonly cases: readonly {
				readonly shape: readonly number[];
				readonly tp: number;
				readonly fsdp: number;
			}[];
	  }
	/** Saves and loads state dicts, one after the other in the same ranks, and tells what torch read, raised and got wrong. */
	| {
			readonly kind: "lint";
			readonly world_size: number;
			/** Where what is only for warming up goes. */
			readonly folder: string;
			readonly steps: readonly LintStep[];
	  }
	/** Saves tiny models that feel every tensor: `tiny_models.py`; `options` are those of `save_pretrained`. */
	| {
			readonly kind: "tiny";
			readonly names: readonly string[];
			readonly directory: string;
			readonly options?: { readonly [name: string]: unknown };
	  }
	/** Saves a tiny flux pipeline, or a tiny DeepSeek-V3 with a layer for multi-token prediction. */
	| { readonly kind: "tiny-flux" | "tiny-mtp"; readonly directory: string }
	/** Of a tiny model, makes a quantised one and what its numbers mean, in float32. */
	| {
			readonly kind: "quantise";
			readonly method: "fp8" | "mxfp4";
			readonly model: string;
			readonly quantised: string;
			readonly meant: string;
	  }
	/** Loads a checkpoint into torchtitan's own model and runs it and the model that it comes from. Needs torchtitan's `path`. */
	| {
			readonly kind: "logits" | "flux-logits" | "mtp-logits";
			readonly model: string;
			readonly checkpoint: string;
	  }
	| {
			readonly kind: "whole";
			readonly checkpoint: string;
			readonly expected: string;
			/** `any`: a NaN may have any payload and sign. */
			readonly nan?: "any";
	  }
	/** SHA-256 of the tensors and of the files of a model. */
	| { readonly kind: "hashes"; readonly directory: string }
	/** Loads `checkpoint` on a mesh, adds 1 to every element of `changed`, and saves it as a trainer does, under `model.`. */
	| {
			readonly kind: "retrain";
			readonly checkpoint: string;
			readonly saved: string;
			readonly mesh: readonly [fsdp: number, tp: number];
			readonly changed: readonly string[];
	  }
	/** Loads an exported model and the one that it came from into transformers. */
	| { readonly kind: "pretrained"; readonly directory: string; readonly model: string }
	| QuantisedJob;

/** Jobs of `quantised.py`. `ours` is a file of the elements that this program makes. */
export type QuantisedJob =
	/** Every code of `codec` times every scale in a file. */
	| {
			readonly kind: "fp8_products";
			readonly codec: string;
			readonly scale_dtype: string;
			readonly scales: string;
			readonly dtype: string;
			readonly ours: string;
	  }
	/** `shape` is that of the scales; the value is transposed. */
	| {
			readonly kind: "mxfp4";
			readonly shape: readonly number[];
			readonly blocks: string;
			readonly scales: string;
			readonly dtype: string;
			readonly ours: string;
	  }
	/** Makes a folder of one weight. */
	| { readonly kind: "write_fp8"; readonly shape: readonly number[]; readonly folder: string }
	| {
			readonly kind: "read_fp8";
			readonly shape: readonly number[];
			readonly folder: string;
			readonly dtype: string;
			/** Whether transformers takes the shape. */
			readonly has_whole_blocks: boolean;
			readonly ours: string;
	  }
	| { readonly kind: "read_mxfp4"; readonly shape: readonly number[]; readonly folder: string };

/** A tensor of a state dict: placed on a mesh of all ranks, or whole on each. */
export interface LintTensor {
	readonly shape: readonly number[];
	readonly dtype: string;
	readonly mesh?: readonly number[];
	readonly placements?: readonly string[];
}

/** A state dict that is saved or loaded. */
export interface LintStep {
	readonly do: "save" | "load";
	readonly checkpoint: string;
	readonly tensors: { readonly [fqn: string]: LintTensor };
	readonly objects?: { readonly [fqn: string]: unknown };
	/** Options of `FileSystemWriter`, and of `dcp.save`. */
	readonly writer?: { readonly [option: string]: unknown };
	readonly options?: { readonly [option: string]: unknown };
}

/** What a load did on one rank. */
export interface LintRankReport {
	/** That the operating system read for it, `.metadata` included. */
	readonly bytes: number;
	/** Of the first rank that failed. */
	readonly raised: { readonly type: string; readonly message: string } | null;
	/** Keys that then hold something else than was saved. */
	readonly wrong: readonly string[];
}

/** How elements compare. */
export interface BitsReport {
	readonly compared: number;
	/** NaNs of theirs. */
	readonly nans: number;
	/** The first few that differ. */
	readonly different: readonly string[];
}

/** A model of `transformers` on `fsdp` × `tp` ranks, of which `ep` share the experts before FSDP does. */
export interface ShardedModel {
	/** Directory that `transformers` saved it to. */
	readonly model: string;
	readonly dtype: string;
	readonly fsdp: number;
	readonly tp: number;
	/** Ranks that experts are spread over. @default 1 */
	readonly ep?: number;
}

/** What one rank found. */
export interface RankReport {
	readonly keys: readonly string[];
	readonly dtypes: readonly string[];
	/** Keys whose local bytes are not those expected. */
	readonly mismatched: readonly string[];
	/** Read items of torch's plan. */
	readonly items: number;
	/** Keys with a read item that is not one whole stored chunk. */
	readonly partialReads: readonly string[];
	/** Items whose data left the file in one read of exactly the chunk's bytes. */
	readonly bulkReads: number;
	/** Bytes of the stored tensors that were unpacked for this rank. */
	readonly readBytes: number;
	/** Bytes of the tensors this rank holds. */
	readonly ownedBytes: number;
	/** All bytes read from `.distcp` files, containers included. */
	readonly fileBytes: number;
}

/** What a distributed load found. */
export interface LoadReport<R extends RankReport = RankReport> {
	/** Keys of the trainer's state dicts, and keys of the checkpoint; both sorted. */
	readonly demanded: readonly string[];
	readonly stored: readonly string[];
	readonly ranks: readonly R[];
}

/** A rank of a `transformers` model under FSDP2. */
export interface Fsdp2RankReport extends RankReport {
	readonly logitsEqual: boolean;
	readonly logitsFinite: boolean;
	readonly logitsSpread: number;
}

/** What became of one parameter that was saved and loaded. */
export interface StorableReport {
	/** The step that goes wrong on some rank: `values` when the load says nothing and is wrong. */
	readonly fails: "build" | "save" | "load" | "values" | null;
	/** The elements of every rank, row by row; the whole is numbered from 1. */
	readonly local: readonly (readonly number[])[];
}

/** What `dcp_to_torch_save` gave. */
export interface WholeReport {
	readonly keys: number;
	readonly missing: readonly string[];
	readonly extra: readonly string[];
	readonly mismatched: readonly string[];
	readonly dtypes: readonly string[];
	/** The first distinct bit patterns of NaNs, hexadecimal. */
	readonly nanPatterns: readonly string[];
}

/** How two models answer the same tokens. */
export interface LogitsReport {
	/** Largest distance of two logits. */
	readonly difference: number;
	/** Standard deviation of the expected logits. */
	readonly spread: number;
	readonly finite: boolean;
	/** Keys of torchtitan's state dict. */
	readonly keys: number;
}

/** How the oracle's key mapping compares with one of torchtitan's adapters. */
export interface AdapterReport {
	readonly compared: number;
	/** Keys whose bytes are not torchtitan's. */
	readonly different: readonly string[];
	/** Keys that only the oracle makes. */
	readonly extra: readonly string[];
	/** Keys that torchtitan's loader demands and its adapter does not make. */
	readonly notProduced: readonly string[];
}

/** The tensors of a model. */
export interface HashesReport {
	readonly tensors: {
		readonly [name: string]: readonly [dtype: string, shape: readonly number[], sha256: string];
	};
	/** SHA-256 of whole files. */
	readonly files: { readonly [name: string]: string };
}

/** How transformers loads an exported model. */
export interface PretrainedReport {
	/** Missing, unexpected and mismatched keys, where there are any. */
	readonly trouble: { readonly [what: string]: readonly string[] };
	readonly keys: number;
	/** Keys whose values are not those of the model that it came from. */
	readonly different: readonly string[];
	readonly dtype: string;
}

interface OracleAnswers {
	readonly hashes: HashesReport;
	readonly retrain: { readonly keys: readonly string[] };
	readonly pretrained: PretrainedReport;
	readonly models: { readonly transformers: string; readonly torch: string };
	readonly expected: { readonly keys: number };
	readonly adapter: AdapterReport;
	readonly load: LoadReport;
	readonly fsdp2: readonly LoadReport<Fsdp2RankReport>[];
	readonly storable: readonly StorableReport[];
	readonly train: { readonly keys: readonly string[] };
	readonly resume: LoadReport;
	readonly saveFsdp1: object;
	readonly resumeFsdp1: LoadReport;
	readonly fake: object;
	readonly savePlaced: object;
	readonly resave: { readonly tensors: number };
	readonly whole: WholeReport;
	readonly tiny: { readonly transformers: string; readonly torch: string };
	readonly "tiny-flux": Record<string, never>;
	readonly "tiny-mtp": Record<string, never>;
	readonly quantise: Record<string, never>;
	readonly logits: LogitsReport;
	readonly "flux-logits": LogitsReport;
	readonly fp8_products: BitsReport;
	readonly mxfp4: BitsReport;
	readonly write_fp8: null;
	readonly read_fp8: BitsReport & { readonly transformers?: BitsReport };
	/** Elements that are written in each row, and whether they are the first ones of it. */
	readonly read_mxfp4: { readonly per_row: readonly number[]; readonly first: boolean };
	readonly "mtp-logits": LogitsReport;
	/** Of each step and rank; `null` for a step that saves. */
	readonly lint: {
		readonly steps: readonly (readonly (LintRankReport | null)[])[];
		/** Of Python's buffered reader. */
		readonly bufferBytes: number;
	};
}

/** One Python process with torch imported once; answers jobs in the order they are asked. */
export class Oracle implements AsyncDisposable {
	readonly #process: ChildProcess;
	readonly #answers: AsyncIterator<string>;
	#log = "";

	/** `path`: a folder of Python modules beside those of `python`. */
	constructor(python: string, { path }: { readonly path?: string } = {}) {
		const script = fileURLToPath(new URL("./server.py", import.meta.url));
		this.#process = spawn(python, [script], {
			stdio: ["pipe", "pipe", "pipe"],
			env: {
				...process.env,
				...(path === undefined ? {} : { PYTHONPATH: path }),
				PYTHONDONTWRITEBYTECODE: "1",
				GLOO_SOCKET_IFNAME: "lo",
				OMP_NUM_THREADS: "1",
				HF_HUB_OFFLINE: "1",
			},
		});
		this.#process.stderr?.setEncoding("utf8").on("data", (text: string) => {
			this.#log = (this.#log + text).slice(-8192);
		});
		this.#answers = createInterface({ input: this.#process.stdout! })[Symbol.asyncIterator]();
	}

	async ask<J extends OracleJob>(job: J): Promise<OracleAnswers[J["kind"]]> {
		this.#process.stdin?.write(`${JSON.stringify(job)}\n`);
		const line = await this.#answers.next();
		if (line.done === true) throw new Error(`the oracle died over ${job.kind}:\n${this.#log}`);
		const answer = JSON.parse(line.value) as { ok?: OracleAnswers[J["kind"]]; error?: string };
		if (answer.ok === undefined) throw new Error(`oracle, ${job.kind}: ${answer.error}`);
		return answer.ok;
	}

	async [Symbol.asyncDispose](): Promise<void> {
		if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
		this.#process.stdin?.end();
		await once(this.#process, "exit");
	}
}
