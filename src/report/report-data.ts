import type { Box } from "../core/box.ts";
import type { Dtype } from "../core/dtype.ts";
import type { CommandFacts, ShareTimeline } from "../core/job-summary.ts";
import type { SourceNote } from "../core/recipe.ts";
import type { Shape } from "../core/shape.ts";

/**
 * What a report shows, and `--json` prints. Plain data: of a plan, of a finished conversion, or of a checkpoint that something else wrote.
 * What is not known is left out, and {@link ReportData.unknown} says why.
 */
export interface ReportData {
	readonly format: "hf-stream-dcp report 1";
	/** `plan`: what would be done. `conversion`: a directory with a manifest. `checkpoint`: one without. */
	readonly kind: "plan" | "conversion" | "checkpoint";
	/** Version of the program that made the report. */
	readonly tool: string;
	readonly origin: ReportOrigin;
	/** Ranks of the training job. */
	readonly worldSize: number;
	/** The mesh, and that of the routed experts where it is another; empty where no mesh is known. */
	readonly meshes: readonly ReportMesh[];
	/** Who holds a block. `layout`: as the layout says. `files`: known is only whose file it is in. */
	readonly holdersKnownBy: "layout" | "files";
	/** The distinct sets of ranks that hold an entry, each as ranges: `0-7,16`. */
	readonly holders: readonly string[];
	readonly totals: ReportTotals;
	readonly tensors: readonly ReportTensor[];
	readonly files: readonly ReportFile[];
	/** Empty where the source is not known. */
	readonly sourceFiles: readonly ReportSourceFile[];
	/** What each worker, or share, has to do or did; empty where it is not known. */
	readonly shares: readonly ReportShare[];
	/** How the shares went on; empty where it was not recorded. */
	readonly timelines: readonly ReportTimeline[];
	readonly dropped: readonly SourceNote[];
	readonly tied: readonly SourceNote[];
	readonly dequantised: readonly SourceNote[];
	readonly synthesised: readonly string[];
	/** Keys of the checkpoint that are no tensors. */
	readonly objects: readonly string[];
	/** What the user should know, one sentence each. */
	readonly warnings: readonly string[];
	/** What is wrong with the checkpoint, one sentence each. */
	readonly problems: readonly string[];
	/** What the report cannot say, and why, one sentence each. */
	readonly unknown: readonly string[];
}

/** Where it all comes from. */
export interface ReportOrigin {
	/** `org/name`, or a path. */
	readonly model?: string | undefined;
	readonly commit?: string | undefined;
	/** `hub`, `directory`, …: where the bytes come from. */
	readonly sourceKind?: string | undefined;
	/** Absolute path of the checkpoint. */
	readonly directory?: string | undefined;
	readonly family?: string | undefined;
	/** Name of the key profile. */
	readonly target?: string | undefined;
	/** One line for people. */
	readonly layout?: string | undefined;
	/** Version of the program that wrote the checkpoint. */
	readonly writtenBy?: string | undefined;
	readonly planId?: string | undefined;
	/** What the command asked for. */
	readonly command?: CommandFacts | undefined;
	/** Of a job that ended: ISO 8601. */
	readonly begun?: string | undefined;
	readonly ended?: string | undefined;
	readonly seconds?: number | undefined;
}

/** All ranks of the training job in row-major order, last axis fastest. */
export interface ReportMesh {
	/** `mesh` or `experts`. */
	readonly name: string;
	readonly axes: readonly { readonly name: string; readonly size: number }[];
}

/** Sums. Bytes, but for the counts. */
export interface ReportTotals {
	/** Of the tensors' elements, as they are stored: each block once. */
	readonly dataBytes: number;
	/** Of all data files. */
	readonly fileBytes: number;
	readonly metadataBytes: number;
	readonly entries: number;
	/** Weight bytes that are fetched, or were. */
	readonly fetchBytes?: number | undefined;
	readonly requests?: number | undefined;
	readonly retries?: number | undefined;
	readonly takeovers?: number | undefined;
	/** Entries more than the layout has shards: cut to fit into memory, and to balance the shares. */
	readonly entriesCut?: number | undefined;
	readonly entriesCutForShares?: number | undefined;
	/** Most memory that a thread takes for staging and write buffers. */
	readonly memoryBytes?: number | undefined;
}

/** One tensor of the checkpoint. */
export interface ReportTensor {
	readonly fqn: string;
	readonly dtype: Dtype;
	/** Global shape. */
	readonly shape: Shape;
	readonly entries: readonly ReportEntry[];
}

/** One stored block. */
export interface ReportEntry {
	readonly box: Box;
	/** Index in {@link ReportData.files}. */
	readonly file: number;
	/** Where the entry begins in its file, bytes. */
	readonly offset: number;
	/** Of the whole entry, bytes. */
	readonly length: number;
	/** Index in {@link ReportData.holders}. */
	readonly holders: number;
}

/** A data file of the checkpoint. */
export interface ReportFile {
	readonly name: string;
	readonly bytes: number;
	/** Whose file it is; `undefined` for a name that does not say. */
	readonly rank: number | undefined;
	readonly share: number | undefined;
	readonly isMissing?: boolean | undefined;
}

/** A file of the source. */
export interface ReportSourceFile {
	readonly path: string;
	/** All of it. */
	readonly bytes: number;
	/** Of the tensors that something of the checkpoint is made of. */
	readonly neededBytes: number;
	/** What is fetched of it; `undefined` where only the sum of all files is known. */
	readonly fetchBytes?: number | undefined;
}

/** A share of the work, or all that one worker did. */
export interface ReportShare {
	/** `share 3`, `worker 3`. */
	readonly name: string;
	readonly host?: string | undefined;
	readonly fetchBytes: number;
	readonly writeBytes: number;
	readonly requests: number;
	readonly entries: number;
	readonly files?: number | undefined;
	readonly seconds?: number | undefined;
	readonly retries?: number | undefined;
	/** Shares of others that it finished. */
	readonly takeovers?: number | undefined;
}

/** The time line of a share, and who worked on it. */
export interface ReportTimeline extends ShareTimeline {
	readonly worker: number;
	readonly host: string;
}

/** The rank and the share in the name of a data file: `__3_0.distcp`. */
export function placeOfFile(name: string): Pick<ReportFile, "rank" | "share"> {
	const [, rank, share] = /(?:^|\/)__(\d{1,9})_(\d{1,9})\.distcp$/.exec(name) ?? [];
	return rank === undefined
		? { rank: undefined, share: undefined }
		: { rank: Number(rank), share: Number(share) };
}
