/**
 * What went wrong: the device is gone (`lost`), a batch did not end in time (`hung`), what was read back is not of the batch that
 * was waited for (`stale`), memory ran out, or the device refused commands (`invalid`).
 */
export type GpuFailureKind = "lost" | "hung" | "stale" | "out-of-memory" | "invalid";

/** A batch whose bytes must not be used. Its work is done again elsewhere; it is not a failure of the run. */
export class GpuFailure extends Error {
	readonly kind: GpuFailureKind;

	constructor(kind: GpuFailureKind, message: string, options?: ErrorOptions) {
		super(message, options);
		this.name = "GpuFailure";
		this.kind = kind;
	}

	/** Whether the device is not to be used again for anything. */
	get isFinal(): boolean {
		return this.kind !== "out-of-memory" && this.kind !== "invalid";
	}
}

/** Anything that the binding threw or rejected with, as a failure of the device. */
export function asGpuFailure(error: unknown): GpuFailure {
	if (error instanceof GpuFailure) return error;
	const message = error instanceof Error ? error.message : String(error);
	return new GpuFailure("invalid", `the GPU's commands failed: ${message}`, { cause: error });
}
