import { fork } from "node:child_process";
import type {
	FromGpuProgram,
	GpuAdapter,
	GpuFailure,
	GpuStep,
	KernelCheck,
} from "./gpu-messages.ts";

/** What came of looking at the GPU. */
export interface GpuExamination {
	/** Names of all devices that drivers offer. */
	readonly adapters: readonly string[];
	/** The one that would be used; `undefined` when it did not come so far. */
	readonly adapter: GpuAdapter | undefined;
	/** Its limits, bytes or counts. */
	readonly limits: { readonly [name: string]: number } | undefined;
	/** What each kernel computed, compared with known answers. */
	readonly kernels: readonly KernelCheck[];
	/** Why it cannot be used; `undefined` when it can. */
	readonly failure: GpuFailure | undefined;
}

/** How to look. */
export interface ExamineGpuOptions {
	readonly env: NodeJS.ProcessEnv;
	/** The process is ended after so long. @default 180000 */
	readonly timeoutMs?: number | undefined;
	readonly signal?: AbortSignal | undefined;
	/** The program of the process. @default the one of this package */
	readonly program?: URL | undefined;
}

/** Longer than all kernels take to compile and to be tested by a slow processor. */
const TIMEOUT_MS = 180_000;

/** What the program was about, for people. */
const DOING: { readonly [S in GpuStep]: string } = {
	package: "before it said anything",
	adapter: "while drivers were asked for a GPU",
	device: "while the GPU was opened",
	"self-test": "while the kernels were tested",
};

/**
 * Opens the GPU and tests every kernel on it in a process of its own, so that a driver that crashes or hangs is a finding and not the
 * end of this program.
 *
 * @throws `signal.reason` when aborted.
 */
export async function examineGpu(options: ExamineGpuOptions): Promise<GpuExamination> {
	const { env, signal, timeoutMs = TIMEOUT_MS } = options;
	signal?.throwIfAborted();
	const program = options.program ?? new URL("./gpu-program.js", import.meta.url);
	const messages: FromGpuProgram[] = [];
	const end = await new Promise<Ending>((resolve, reject) => {
		const child = fork(program, { env, stdio: ["ignore", "pipe", "pipe", "ipc"] });
		let stderr = "";
		let isLate = false;
		const kill = (): void => void child.kill("SIGKILL");
		const timer = setTimeout(() => {
			isLate = true;
			kill();
		}, timeoutMs);
		signal?.addEventListener("abort", kill, { once: true });
		child.stdout?.resume();
		child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
		child.on("message", (message) => {
			messages.push(message as FromGpuProgram);
			// All was told: it need not tidy up.
			if ((message as FromGpuProgram).kind === "done") kill();
		});
		child.on("error", reject);
		child.on("close", (code, killedBy) => {
			clearTimeout(timer);
			signal?.removeEventListener("abort", kill);
			resolve({ code, killedBy, isLate, stderr });
		});
	});
	signal?.throwIfAborted();
	return summarise(messages, describeEnding(end, timeoutMs));
}

interface Ending {
	readonly code: number | null;
	readonly killedBy: string | null;
	/** Whether it was ended because it took too long. */
	readonly isLate: boolean;
	readonly stderr: string;
}

function describeEnding({ code, killedBy, isLate, stderr }: Ending, timeoutMs: number): string {
	if (isLate) return `its process did not answer for ${Math.round(timeoutMs / 1000)} s`;
	const last = stderr.trim().split("\n").at(-1) ?? "";
	const said = last === "" ? "" : `; it said: ${last}`;
	return killedBy === null
		? `its process ended with exit code ${code}${said}`
		: `its process was ended by ${killedBy}${said}`;
}

/**
 * Puts together what a process told before it ended.
 *
 * @param ending - How it ended, for people; used when it did not come to the end of its work.
 */
export function summarise(messages: readonly FromGpuProgram[], ending: string): GpuExamination {
	let step: GpuStep = "package";
	let isDone = false;
	let failure: GpuFailure | undefined;
	const seen: { -readonly [K in keyof GpuExamination]: GpuExamination[K] } = {
		adapters: [],
		adapter: undefined,
		limits: undefined,
		kernels: [],
		failure: undefined,
	};
	for (const message of messages) {
		if (message.kind === "step") step = message.step;
		else if (message.kind === "adapters") seen.adapters = message.names;
		else if (message.kind === "kernels") seen.kernels = message.kernels;
		else if (message.kind === "failed") failure = message.failure;
		else if (message.kind === "done") isDone = true;
		else {
			seen.adapter = message.adapter;
			seen.limits = message.limits;
		}
	}
	if (!isDone) {
		failure ??= {
			step,
			crashed: true,
			message: `${ending}, ${DOING[step]}`,
			hint: "Its driver is at fault, most likely: update it. Conversions go on without it.",
		};
	}
	return { ...seen, failure: failure ?? wrongKernels(seen.kernels) };
}

function wrongKernels(kernels: readonly KernelCheck[]): GpuFailure | undefined {
	const wrong = kernels.filter(({ ok }) => !ok);
	if (wrong.length === 0) return undefined;
	const texts = wrong.map(({ kernel, detail }) =>
		detail === undefined ? kernel : `${kernel} (${detail})`,
	);
	return {
		step: "self-test",
		message: `it computes something else than the CPU: ${texts.join(", ")}`,
		hint: "Update its driver; until then the CPU does the work. Please report it, with the output of this command as --json.",
	};
}
