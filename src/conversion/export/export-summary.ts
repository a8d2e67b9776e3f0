import type { Dtype } from "../../core/dtype.ts";
import type { SourceNote } from "../../core/recipe.ts";
import type { Rounding } from "../../export/plan-export.ts";

/** A tensor that a checkpoint holds twice, and the export once. */
export interface ExportedCopy {
	/** The tensor of the model. */
	readonly name: string;
	/** The key whose values were taken. */
	readonly kept: string;
	/** The key that holds them again. */
	readonly copy: string;
}

/** A tensor of a checkpoint that models on the Hub have no place for, because the conversion made it of nothing. */
export interface ExportedConstant {
	readonly fqn: string;
	/** Whether it no longer holds what the conversion wrote, so that something is lost; `undefined` when nobody looked. */
	readonly changed: boolean | undefined;
}

/** What an export did, or would do. */
export interface ExportSummary {
	/** Absolute paths of the checkpoint and of the model. */
	readonly checkpoint: string;
	readonly directory: string;
	/** What it is a model of. */
	readonly repo: string;
	readonly commit: string;
	readonly family: string;
	readonly target: string;
	/** What stands before the model's names in the checkpoint. */
	readonly prefix: string;
	/** Where the recipes came from. */
	readonly recipes: "manifest" | "model";
	/** Whether nothing was written. */
	readonly dryRun: boolean;
	/** How the files were divided. */
	readonly shards: "original" | "size";
	readonly files: readonly {
		readonly path: string;
		readonly bytes: number;
		readonly tensors: number;
	}[];
	readonly tensors: number;
	/** Of the data of all tensors. */
	readonly dataBytes: number;
	/** Tensors by dtype. */
	readonly dtypes: { readonly [D in Dtype]?: number };
	/** What became of `config.json`: as it was; changed; written anew of what the manifest says; there is none. */
	readonly config: "copied" | "changed" | "written" | "none";
	/** Small files that were copied. */
	readonly copied: readonly string[];
	/** Tensors that were rounded to fewer bits than the checkpoint holds. */
	readonly rounded: readonly Rounding[];
	/** Tensors that the conversion had rounded, and that are written with as many bits as the model had. */
	readonly roundedBefore: readonly Rounding[];
	/** Tensors that were quantised in the model and are not any more. */
	readonly dequantised: number;
	/** Tensors taken from the model. */
	readonly filled: readonly string[];
	/** Tensors of the model that were left out. */
	readonly missing: readonly SourceNote[];
	/** Keys of the checkpoint that are not the model's. */
	readonly leftOut: readonly SourceNote[];
	readonly copies: readonly ExportedCopy[];
	readonly constants: readonly ExportedConstant[];
	readonly warnings: readonly string[];
	/** Bytes and requests of reading the checkpoint, and the model where it fills in; as planned in a dry run. */
	readonly readBytes: number;
	readonly requests: number;
	/** Most memory that the stream was allowed, and most staging memory it took; 0 in a dry run. */
	readonly memoryBytes: number;
	readonly peakStagingBytes: number;
	readonly seconds: number;
}
