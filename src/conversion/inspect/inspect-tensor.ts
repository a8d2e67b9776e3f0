import { resolve } from "node:path";
import { directoryKind } from "../../checkpoint/directory-kind.ts";
import { HfStreamDcpError } from "../../core/errors.ts";
import type { InspectedTensor, InspectTensorOptions } from "./inspected-tensor.ts";
import { inspectCheckpointTensor } from "./checkpoint-tensor.ts";
import { inspectSourceTensor } from "./source-tensor.ts";

/**
 * Looks at one tensor, or at a block of one, of a checkpoint, of a local model or of one on the Hub: where it is stored, what its elements
 * are like, which are at its edges, and whether they are what the source says. Reads what is asked for and no more, in bounded memory. No
 * pickle is executed.
 *
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` for a tensor, chunk or index that there is not, with what may have been meant;
 * `CHECKPOINT_CORRUPT` and every error of a source.
 */
export async function inspectTensor(options: InspectTensorOptions): Promise<InspectedTensor> {
	const { target, tensor, chunk, entry, source } = options;
	if (tensor === undefined && entry === undefined) {
		throw new HfStreamDcpError("OPTIONS_INVALID", "the name of a tensor is missing");
	}
	const directory = resolve(target);
	const kind = await directoryKind(directory);
	if (kind === "checkpoint") return await inspectCheckpointTensor(directory, options);
	if (kind === "unfinished") {
		throw new HfStreamDcpError(
			"CHECKPOINT_CORRUPT",
			`${target} has no .metadata: it is not a finished checkpoint`,
			{ hint: "Run the command that was writing it again: it continues where it stopped." },
		);
	}
	const misplaced = chunk ?? entry ?? (source === false ? undefined : source);
	if (tensor === undefined || misplaced !== undefined) {
		throw new HfStreamDcpError(
			"OPTIONS_INVALID",
			`${target} is no checkpoint: it has no chunks, and no source to compare with`,
			{ hint: "Chunks, entries and --source are for checkpoints." },
		);
	}
	return await inspectSourceTensor(tensor, options);
}
