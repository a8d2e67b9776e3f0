import { endianness } from "node:os";
import { invariant } from "../../core/errors.ts";
import type { ReshardBackend } from "../../core/ports.ts";
import { cast } from "./cast.ts";
import { fill } from "./fill.ts";
import { gather } from "./gather.ts";

/** The back end that runs everywhere: typed-array loops on the calling thread. */
export function createCpuBackend(): ReshardBackend {
	// safetensors is little-endian, and so are typed arrays on every machine that trains models.
	invariant(endianness() === "LE", "the CPU back end needs a little-endian machine");
	return {
		name: "cpu",
		async run(ops, staging, target) {
			checkIndexable(staging);
			checkIndexable(target);
			for (const { piece, stagingOffset } of ops) {
				if (piece.kind === "fill") fill(piece, target);
				else if (piece.sourceDtype === piece.targetDtype) {
					gather(piece, staging, stagingOffset, target);
				} else cast(piece, staging, stagingOffset, target);
			}
		},
		async [Symbol.asyncDispose]() {},
	};
}

/** The kernels index memory with 32-bit integers. */
function checkIndexable(bytes: Uint8Array): void {
	invariant(
		bytes.byteOffset + bytes.length < 2 ** 31,
		"the CPU back end works on memory within the first 2 GiB of its buffer",
	);
}
