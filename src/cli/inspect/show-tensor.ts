import { inspectTensor, type InspectTensorOptions } from "../../index.ts";
import { expandHome } from "../expand-home.ts";
import type { FlagValues } from "../flags.ts";
import { watchInterrupts } from "../interrupt.ts";
import type { CliIo } from "../io.ts";
import { openProgress } from "../open-progress.ts";
import { renderTensor } from "./render-tensor.ts";
import { valuesJson } from "./tensor-json.ts";
import { readLimit, usage } from "./view.ts";

/** Rows of the table of chunks when `--limit` is not given. */
const DEFAULT_CHUNKS = 8;

/** Digits after the point, as torch's `set_printoptions(precision=4)`. */
const DEFAULT_PRECISION = 4;

/** Width of what is not written to a terminal: torch's. */
const DEFAULT_WIDTH = 80;

/** Flags that say something of one tensor, by attribute. */
const TENSOR_FLAGS: { readonly [attribute: string]: string } = {
	chunk: "--chunk",
	source: "--source",
	precision: "--precision",
};

/**
 * Whether one tensor is asked for.
 *
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` for flags that need one, without one.
 */
export function isTensorAsked(values: FlagValues): boolean {
	if (values["tensor"] !== undefined || values["entry"] !== undefined) return true;
	const odd = Object.keys(TENSOR_FLAGS).find((attribute) => values[attribute] !== undefined);
	if (odd === undefined && values["stats"] !== false) return false;
	const flag = odd === undefined ? "--no-stats" : TENSOR_FLAGS[odd];
	throw usage(`${flag} is about one tensor`, "Say which: --tensor NAME.");
}

/** Shows one tensor, its statistics and values. */
export async function showTensor(io: CliIo, target: string, values: FlagValues): Promise<void> {
	const options = readTensorFlags(io, target, values);
	const precision = readWhole("--precision", values["precision"]) ?? DEFAULT_PRECISION;
	if (precision > 20) throw usage("--precision: at most 20 digits");
	const limit = readLimit(values["limit"]) ?? DEFAULT_CHUNKS;
	const progress = openProgress(io, values);
	using interrupts = watchInterrupts(io, { onFirst: () => progress.warn("stopping") });
	try {
		const tensor = await inspectTensor({
			...options,
			signal: interrupts.signal,
			onEvent(event) {
				if (event.kind === "warning") progress.warn(event.message);
				progress.onEvent(event);
			},
		});
		progress.stop();
		const width = io.stdout.columns ?? DEFAULT_WIDTH;
		const isJson = values["json"] === true;
		io.stdout.write(
			`${isJson ? valuesJson(tensor) : renderTensor(tensor, { precision, width, limit })}\n`,
		);
	} finally {
		progress.stop();
	}
}

function readTensorFlags(io: CliIo, target: string, values: FlagValues): InspectTensorOptions {
	const { tensor, source, revision } = values;
	for (const attribute of ["depth", "module", "flat", "files"]) {
		if (values[attribute] !== undefined) {
			throw usage(`--${attribute} is about all tensors, and --tensor about one`);
		}
	}
	return {
		target,
		tensor: typeof tensor === "string" ? tensor : undefined,
		chunk: readWhole("--chunk", values["chunk"]),
		entry: readEntry(values["entry"]),
		source: typeof source === "string" ? expandHome(source, io.env) : source === true,
		statistics: values["stats"] !== false,
		revision: typeof revision === "string" ? revision : undefined,
		environment: io.env,
	};
}

function readWhole(flag: string, text: unknown): number | undefined {
	if (text === undefined) return undefined;
	if (typeof text === "string" && /^\d{1,9}$/.test(text)) return Number(text);
	throw usage(`${flag}: expected a whole number of at least 0, got ${JSON.stringify(text)}`);
}

function readEntry(text: unknown): InspectTensorOptions["entry"] {
	if (text === undefined) return undefined;
	const [, file, offset] = /^(.+):(\d{1,15})$/.exec(typeof text === "string" ? text : "") ?? [];
	if (file === undefined) {
		throw usage(
			`--entry: expected FILE:OFFSET, got ${JSON.stringify(text)}`,
			"The offset is in bytes, as --tensor NAME shows it: --entry __0_0.distcp:4096",
		);
	}
	return { file, offset: Number(offset) };
}
