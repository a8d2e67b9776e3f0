/// <reference types="@webgpu/types" />
import { asGpuFailure, GpuFailure } from "./gpu-failure.ts";

/** Bits of `GPUBufferUsage`, as the WebGPU specification numbers them: the package has them as globals of a browser only. */
export const USAGE = {
	mapRead: 0x1,
	mapWrite: 0x2,
	copySource: 0x4,
	copyTarget: 0x8,
	uniform: 0x40,
	storage: 0x80,
} as const;

/** Bits of `GPUMapMode`. */
export const MAP = { read: 0x1, write: 0x2 } as const;

/** `GPUShaderStage.COMPUTE`. */
export const COMPUTE_STAGE = 0x4;

/** What an adapter says of itself. */
export interface GpuInfo {
	readonly vendor: string;
	readonly architecture: string;
	readonly device: string;
	readonly description: string;
	/** Whether it is the processor that plays the GPU: SwiftShader, llvmpipe. */
	readonly isSoftware: boolean;
}

/** One device, until it fails. */
export interface Gpu extends AsyncDisposable {
	/** For people: `NVIDIA H200`. */
	readonly name: string;
	readonly info: GpuInfo;
	/** Of the device, which are those of the adapter. */
	readonly limits: Readonly<Record<string, number>>;
	readonly device: GPUDevice;
	/** Why the device is not to be used any more. */
	readonly failure: GpuFailure | undefined;
	/** Buffers that were created so far. */
	readonly buffers: number;
	/** As `device.createBuffer`, counted. */
	createBuffer(descriptor: GPUBufferDescriptor): GPUBuffer;
	/**
	 * Runs commands that must not wait for anything, and watches for errors of theirs.
	 *
	 * @throws {GpuFailure} later: once the device has looked at them, when one was refused or memory ran out.
	 */
	guard(commands: () => void): Promise<void>;
	/**
	 * Waits for something that the device does.
	 *
	 * @throws {GpuFailure} when it rejects, when the device fails, or when it takes longer than the time limit: the device has failed then.
	 */
	watch<T>(work: Promise<T>): Promise<T>;
	/** Gives the device up: everything that waits for it rejects with `failure`. Only the first failure counts. */
	fail(failure: GpuFailure): void;
}

/** What {@link createGpu} makes a {@link Gpu} of. */
export interface CreateGpuOptions {
	readonly device: GPUDevice;
	readonly name: string;
	readonly info: GpuInfo;
	readonly limits: Readonly<Record<string, number>>;
	/** After so long a wait the device counts as hung. */
	readonly timeoutMs: number;
}

const SCOPES: readonly GPUErrorFilter[] = ["internal", "out-of-memory", "validation"];

/** Gives a device its error handling. Nothing is printed: what goes wrong is a {@link GpuFailure}. */
export function createGpu(options: CreateGpuOptions): Gpu {
	return new WatchedDevice(options);
}

class WatchedDevice implements Gpu {
	readonly name: string;
	readonly info: GpuInfo;
	readonly limits: Readonly<Record<string, number>>;
	readonly device: GPUDevice;
	readonly #timeoutMs: number;
	/** Of those who wait for the device. */
	readonly #rejections = new Set<(failure: GpuFailure) => void>();
	#failure: GpuFailure | undefined;
	#buffers = 0;

	constructor({ device, name, info, limits, timeoutMs }: CreateGpuOptions) {
		this.name = name;
		this.info = info;
		this.limits = limits;
		this.device = device;
		this.#timeoutMs = timeoutMs;
		void this.#hearOfLoss();
		device.addEventListener("uncapturederror", (event) => {
			// Or else it is printed to the standard output.
			event.preventDefault();
			const what = oneLine(event.error.message);
			this.fail(new GpuFailure("lost", `the GPU failed outside of a batch: ${what}`));
		});
	}

	get failure(): GpuFailure | undefined {
		return this.#failure;
	}

	get buffers(): number {
		return this.#buffers;
	}

	createBuffer(descriptor: GPUBufferDescriptor): GPUBuffer {
		this.#buffers++;
		return this.device.createBuffer(descriptor);
	}

	fail(failure: GpuFailure): void {
		if (this.#failure !== undefined) return;
		this.#failure = failure;
		for (const reject of this.#rejections) reject(failure);
		// What is pending inside of the package rejects then, and memory is freed. Not at once: this may be called by the package, which
		// would wait for itself.
		setImmediate(() => this.device.destroy());
	}

	async watch<T>(work: Promise<T>): Promise<T> {
		if (this.#failure !== undefined) {
			work.catch(() => {});
			throw this.#failure;
		}
		const timer = setTimeout(() => {
			const seconds = this.#timeoutMs / 1000;
			this.fail(new GpuFailure("hung", `the GPU did not answer for ${seconds} s`));
		}, this.#timeoutMs);
		try {
			return await this.#orFailure(work);
		} catch (error) {
			// Work rejects in the turn before the loss is told, which is the better reason.
			await nextTurn();
			throw this.#failure ?? asGpuFailure(error);
		} finally {
			clearTimeout(timer);
		}
	}

	async guard(commands: () => void): Promise<void> {
		if (this.#failure !== undefined) throw this.#failure;
		const { device } = this;
		for (const scope of SCOPES) device.pushErrorScope(scope);
		let thrown: GpuFailure | undefined;
		try {
			commands();
		} catch (error) {
			thrown = asGpuFailure(error);
		}
		// The scopes are one stack for all of the device: they are taken off in the same turn, the last one first.
		const errors = Promise.all(SCOPES.map(async () => await device.popErrorScope()));
		const [invalid, exhausted, internal] = await this.watch(errors);
		if (exhausted) throw new GpuFailure("out-of-memory", oneLine(exhausted.message));
		const refused = invalid ?? internal;
		if (refused) throw new GpuFailure("invalid", oneLine(refused.message));
		if (thrown !== undefined) throw thrown;
	}

	async [Symbol.asyncDispose](): Promise<void> {
		this.fail(new GpuFailure("lost", "the GPU was closed"));
		// Not until the loss is told: a device that hangs does not tell it.
		await nextTurn();
	}

	/** Not a race with one promise for all of the device's life: that would keep a reaction for every wait. */
	async #orFailure<T>(work: Promise<T>): Promise<T> {
		return await new Promise<T>((resolve, reject) => {
			this.#rejections.add(reject);
			void work.then(resolve, reject).finally(() => this.#rejections.delete(reject));
		});
	}

	async #hearOfLoss(): Promise<void> {
		const { reason, message } = await this.device.lost;
		this.fail(new GpuFailure("lost", `the GPU was lost (${reason}): ${oneLine(message)}`));
	}
}

async function nextTurn(): Promise<void> {
	await new Promise((resolve) => setImmediate(resolve));
}

/** Messages of the device run over many lines, of which the first says what it is about. */
function oneLine(message: string): string {
	return message.split("\n", 1)[0] ?? message;
}
