import type { GpuFacts } from "../core/device.ts";
import { HfStreamDcpError } from "../core/errors.ts";
import { startChild } from "./child.ts";
import { type ErrorRecord, errorOf } from "./error-record.ts";

/** What the process that looks for a GPU says. */
export type ProbeAnswer = { readonly facts: GpuFacts } | { readonly error: ErrorRecord };

/** Longer than a slow driver opens and the kernels are compiled and tested, also by a processor. */
const MAX_PROBE_MS = 300_000;

/** What it is asked. */
export interface ProbeRequest {
	/** Whether adapters in software are tested as well, or only named. */
	readonly testsSoftware: boolean;
}

/**
 * Opens the GPU and tests every kernel on it, in a process of its own, which has ended when it settles.
 *
 * @throws {HfStreamDcpError} `DEVICE_UNAVAILABLE` when there is none, or when the process crashed or hung. @throws `signal.reason`
 */
export function probeInChild({
	testsSoftware,
	signal,
}: ProbeRequest & { readonly signal?: AbortSignal | undefined }): Promise<GpuFacts> {
	const request: ProbeRequest = { testsSoftware };
	signal?.throwIfAborted();
	return new Promise((resolve, reject) => {
		let answer: ProbeAnswer | undefined;
		const child = startChild<ProbeAnswer>(
			// The built file: Node 20 runs no TypeScript.
			new URL("./probe-program.js", import.meta.url),
			request,
			MAX_PROBE_MS,
			{
				onMessage(message) {
					answer = message;
					child.kill();
				},
				onEnd(how) {
					signal?.removeEventListener("abort", onAbort);
					if (signal?.aborted === true) reject(signal.reason as Error);
					else if (answer === undefined) reject(crashed(how));
					else if ("facts" in answer) resolve(answer.facts);
					else reject(errorOf(answer.error));
				},
			},
		);
		const onAbort = (): void => child.kill();
		signal?.addEventListener("abort", onAbort, { once: true });
	});
}

function crashed(how: string): HfStreamDcpError {
	return new HfStreamDcpError("DEVICE_UNAVAILABLE", `the GPU cannot be used: ${how}`, {
		hint: "hf-stream-dcp doctor says more. Without --device webgpu the CPU does the work.",
	});
}
