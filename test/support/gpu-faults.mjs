/**
 * Preload (`NODE_OPTIONS=--import=…`) that makes a GPU fail at an exact point, for real where it can, and writes down what is asked of
 * it. The program knows nothing of it: what is patched are the prototypes of the native binding.
 *
 * `GPU_FAULTS` is JSON:
 * - `log`: folder that gets a file per process that opened a device, a line of JSON per event: `{ buffer, usage }`, bytes and
 *   `GPUBufferUsage`; `{ batch, rss }`, its number from 1 and the resident set, bytes; `{ fault }`.
 * - `fault`: `{ kind, nth, token, isLater }`: at the nth batch, which is the nth submit in which something is computed. Of all processes
 *   with the same `token`, a path, only the first one there fails, or all but that one with `isLater`; without a token every one does.
 *
 * | kind | what happens |
 * |---|---|
 * | `kill` | the process ends by SIGKILL, with the work submitted |
 * | `stop` | the process is stopped, as one whose driver never returns |
 * | `destroy` | the device is destroyed, with the work submitted |
 * | `oom` | a buffer is asked for that the device cannot have, beside the submit; its error is the device's own |
 * | `drop` | the submit is an invalid one, which the device refuses: nothing of it is done |
 * | `hang` | the next buffer that is mapped to be read never is |
 * | `flip` | a bit of the next buffer that is read is wrong |
 *
 * With `stop` and `hang`, timers of at least 10 s run ten times as fast, in every process.
 */
import { appendFileSync, closeSync, openSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import timers from "node:timers";
import { isMainThread } from "node:worker_threads";

const { log, fault } = JSON.parse(process.env.GPU_FAULTS ?? "{}");
const MAP_READ = 1;
/** Within its limits, and more than SwiftShader gives. */
const TOO_LARGE = 2 ** 30;

let batches = 0;
let computes = false;
/** What to do with the next buffer that is mapped to be read. */
let armed;
let device;

function note(event) {
	if (log !== undefined)
		appendFileSync(join(log, `${process.pid}.jsonl`), `${JSON.stringify(event)}\n`);
}

/** Whether this call is the one to fail. */
function isTurn() {
	if (fault === undefined || batches !== fault.nth) return false;
	if (fault.token !== undefined && isFirst(fault.token) === (fault.isLater ?? false)) return false;
	note({ fault: fault.kind });
	return true;
}

/** Whether no other process was here. */
function isFirst(token) {
	try {
		closeSync(openSync(token, "wx"));
		return true;
	} catch {
		return false;
	}
}

function patch(prototype, name, wrap) {
	const original = prototype[name];
	prototype[name] = function (...args) {
		return wrap.call(this, (...others) => original.apply(this, others), ...args);
	};
}

/** What happens beside the submit or instead of it. */
const AT_SUBMIT = {
	kill(submit, buffers) {
		submit(buffers);
		process.kill(process.pid, "SIGKILL");
		for (;;);
	},
	stop(submit, buffers) {
		submit(buffers);
		process.kill(process.pid, "SIGSTOP");
	},
	destroy(submit, buffers) {
		submit(buffers);
		device.destroy();
	},
	oom(submit, buffers) {
		device.createBuffer({ size: TOO_LARGE, usage: 8 });
		submit(buffers);
	},
	drop(submit) {
		const used = device.createCommandEncoder().finish();
		submit([used]);
		submit([used]);
	},
	hang(submit, buffers) {
		submit(buffers);
		armed = "hang";
	},
	flip(submit, buffers) {
		submit(buffers);
		armed = "flip";
	},
};

function patchBinding({ GPUAdapter, GPUBuffer, GPUCommandEncoder, GPUDevice, GPUQueue }) {
	patch(
		GPUAdapter.prototype,
		"requestDevice",
		async (call, ...args) => (device = await call(...args)),
	);
	patch(GPUDevice.prototype, "createBuffer", (call, descriptor) => {
		if (descriptor.size !== TOO_LARGE) note({ buffer: descriptor.size, usage: descriptor.usage });
		return call(descriptor);
	});
	patch(GPUCommandEncoder.prototype, "beginComputePass", (call, ...args) => {
		computes = true;
		return call(...args);
	});
	patch(GPUQueue.prototype, "submit", (call, buffers) => {
		const isBatch = computes;
		computes = false;
		if (isBatch) note({ batch: ++batches, rss: process.memoryUsage.rss() });
		if (isBatch && isTurn()) AT_SUBMIT[fault.kind](call, buffers);
		else call(buffers);
	});
	patch(GPUBuffer.prototype, "mapAsync", (call, mode, ...place) => {
		if (mode !== MAP_READ || armed !== "hang") return call(mode, ...place);
		armed = undefined;
		return new Promise(() => {});
	});
	patch(GPUBuffer.prototype, "getMappedRange", function (call, ...place) {
		const bytes = call(...place);
		if (armed === "flip" && (this.usage & MAP_READ) !== 0) {
			armed = undefined;
			new Uint8Array(bytes)[0] ^= 1;
		}
		return bytes;
	});
}

/** Nobody waits for minutes in a test. */
function hurry() {
	const { setTimeout } = timers;
	timers.setTimeout = (callback, delay, ...args) =>
		setTimeout(callback, delay >= 10_000 ? delay / 10 : delay, ...args);
	globalThis.setTimeout = timers.setTimeout;
	syncBuiltinESMExports();
}

if (isMainThread) {
	if (fault?.kind === "stop" || fault?.kind === "hang") hurry();
	const { globals } = await import("webgpu");
	patchBinding(globals);
}
