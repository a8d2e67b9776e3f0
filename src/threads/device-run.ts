import type { GpuCounters } from "../core/device.ts";
import type { EventListener } from "../core/events.ts";
import type { ThreadDevice } from "./messages.ts";
import type { DeviceChoice } from "./choose-device.ts";

/** The device of a worker while it works. */
export interface DeviceRun {
	readonly choice: DeviceChoice;
	/** What the next share is done with: the CPU once the GPU has failed. */
	readonly device: ThreadDevice;
	/** The GPU failed at something, or its process is lost; the CPU does that, or the rest. Warns the first time. */
	readonly onTrouble: (reason: string) => void;
}

/** What a worker's device did: the choice, and the sums over its threads. */
export interface DeviceSummary extends DeviceChoice {
	/** Batches that a GPU worked off. */
	readonly batches: number;
	/** Windows that the CPU made after the GPU had failed to. */
	readonly redone: number;
	/** What failed, one sentence for each kind of failure. Empty when nothing did. */
	readonly lost: readonly string[];
}

/** Begins to work with the device that was chosen. */
export function createDeviceRun(choice: DeviceChoice, onEvent: EventListener): DeviceRun {
	let hasFailed = false;
	return {
		choice,
		get device() {
			if (hasFailed || choice.chosen === "cpu") return "cpu";
			return choice.asked === "auto" ? "webgpu where quicker" : "webgpu";
		},
		onTrouble(reason) {
			if (hasFailed) return;
			hasFailed = true;
			const message = `the GPU failed, and the CPU goes on; the checkpoint is the same: ${reason}`;
			onEvent({ kind: "warning", message });
		},
	};
}

/** Adds up what the GPU did for the threads of a worker. */
export function summariseDevice(
	choice: DeviceChoice,
	threads: readonly { readonly gpu?: GpuCounters | undefined }[],
): DeviceSummary {
	const gpus = threads.flatMap(({ gpu }) => (gpu === undefined ? [] : [gpu]));
	const sum = (of: (gpu: GpuCounters) => number): number =>
		gpus.reduce((total, gpu) => total + of(gpu), 0);
	return {
		...choice,
		batches: sum(({ batches }) => batches),
		redone: sum(({ redone }) => redone),
		lost: [...new Set(gpus.flatMap(({ reasons }) => reasons))],
	};
}
