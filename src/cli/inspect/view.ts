import { HfStreamDcpError } from "../../index.ts";
import type { FlagValues } from "../flags.ts";
import { readCount } from "../number-flags.ts";

/** What of a checkpoint or a model is shown, when it is not one tensor. */
export interface View {
	/** A tree of modules; all tensors as a table; the files as a table. */
	readonly kind: "tree" | "flat" | "files";
	/** Levels of the tree; `undefined` for all. */
	readonly depth: number | undefined;
	/** Shows what lies below this module alone. */
	readonly module: string | undefined;
	/** Most rows of a table. */
	readonly limit: number;
	readonly isJson: boolean;
}

/** Rows of each table when `--limit` is not given. */
export const DEFAULT_LIMIT = 40;

/** Rows of a tree when `--limit` is not given: layers are folded, so that trees are short. */
export const DEFAULT_TREE_LIMIT = 200;

/**
 * What the flags ask to see.
 *
 * @throws {HfStreamDcpError} `OPTIONS_INVALID`
 */
export function readView(values: FlagValues): View {
	const isFlat = values["flat"] === true;
	const isFiles = values["files"] === true;
	if (isFlat && isFiles)
		throw usage("--flat and --files are two different tables", "Give one of them.");
	const kind = isFlat ? "flat" : isFiles ? "files" : "tree";
	const { module } = values;
	const depth = readCount("--depth", values["depth"]);
	if (depth !== undefined && kind !== "tree") {
		throw usage(`--depth is for the tree, not for --${kind}`, "Leave one of them out.");
	}
	return {
		kind,
		depth,
		module: typeof module === "string" ? module.replace(/\.$/, "") : undefined,
		limit: readLimit(values["limit"]) ?? (kind === "tree" ? DEFAULT_TREE_LIMIT : DEFAULT_LIMIT),
		isJson: values["json"] === true,
	};
}

/** @returns `Infinity` for 0; `undefined` when it was not given. */
export function readLimit(text: unknown): number | undefined {
	if (text === undefined) return undefined;
	if (typeof text !== "string" || !/^\d+$/.test(text)) {
		throw usage(`--limit: expected a whole number of at least 0, got ${JSON.stringify(text)}`);
	}
	return text === "0" ? Infinity : Number(text);
}

/** A mistake on the command line. */
export function usage(message: string, hint?: string): HfStreamDcpError {
	return new HfStreamDcpError("OPTIONS_INVALID", message, { hint });
}

/**
 * Tells whether a name is that of the module, or lies below it.
 *
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` when no name is or does.
 */
export function belowModule(
	module: string | undefined,
	names: readonly string[],
): (name: string) => boolean {
	if (module === undefined) return () => true;
	const isBelow = (name: string): boolean => name === module || name.startsWith(`${module}.`);
	if (!names.some(isBelow)) {
		const tops = [...new Set(names.map((name) => name.split(".")[0] ?? ""))].slice(0, 8);
		throw usage(
			`nothing is called ${module}, or lies below it`,
			`At the top are ${tops.join(", ")}.`,
		);
	}
	return isBelow;
}
