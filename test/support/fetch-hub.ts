import { createLocalHub, type LocalHub, type LocalHubOptions } from "../../src/demo/local-hub.ts";
import type { LocalRepo } from "../../src/demo/local-hub-files.ts";
import type { ByteSource } from "../../src/core/ports.ts";
import type { ProgressEvent } from "../../src/core/events.ts";
import type { Clock } from "../../src/fetch/clock.ts";
import type { HubEnvironment } from "../../src/fetch/environment.ts";
import {
	createHubSession,
	type HubSession,
	type HubSessionOptions,
} from "../../src/fetch/hub-session.ts";
import type { HubTimeouts } from "../../src/fetch/timeouts.ts";

/** The repository of the fetch tests. */
export const REPO = "org/model";
/** Its one large file. */
export const WEIGHTS = "model.safetensors";
/** Content of {@link WEIGHTS}: no two places look alike. */
export const CONTENT: Uint8Array = noise(300_000);
/** The same memory with `equals`, for large comparisons. */
export const CONTENT_BYTES: Buffer = Buffer.from(CONTENT.buffer);
const CONFIG = Buffer.from('{"model_type":"llama"}');

/** Bytes of a fixed pseudo-random sequence (xorshift32). */
export function noise(length: number): Uint8Array {
	let state = 0x9e3779b9;
	return Uint8Array.from({ length }, () => {
		state ^= state << 13;
		state ^= state >>> 17;
		state ^= state << 5;
		return state & 0xff;
	});
}

/** Patience for tests: quick retries, everything else far away. */
export const QUICK: Partial<HubTimeouts> = { backoffMs: 1, backoffLimitMs: 4 };

/** An environment for `endpoint`, with nothing from the machine's. */
export function environmentFor(
	endpoint: string,
	more: Partial<HubEnvironment> = {},
): HubEnvironment {
	return {
		endpoint,
		token: undefined,
		cacheDir: "/nonexistent",
		offline: false,
		ca: undefined,
		userAgent: "hf-stream-dcp-test",
		proxy: { httpProxy: "", httpsProxy: "", noProxy: "" },
		metadataTimeoutMs: 10_000,
		downloadTimeoutMs: 10_000,
		...more,
	};
}

/** A clock whose waits end at once, as if their time had passed. */
export function fastClock(): Clock & { readonly waits: number[]; advance(ms: number): void } {
	let offset = 0;
	const waits: number[] = [];
	return {
		waits,
		advance: (ms) => {
			offset += ms;
		},
		now: () => performance.now() + offset,
		random: () => 1,
		wait: async (ms, signal) => {
			waits.push(ms);
			await new Promise(setImmediate);
			signal?.throwIfAborted();
			offset += ms;
		},
	};
}

/** A local Hub with {@link REPO}, a session and a source on it. */
export interface Stage extends AsyncDisposable {
	readonly hub: LocalHub;
	readonly session: HubSession;
	readonly source: ByteSource;
	readonly commit: string;
	readonly events: readonly ProgressEvent[];
	/** Reads `[start, end)` of {@link WEIGHTS}. */
	read(start?: number, end?: number, signal?: AbortSignal): Promise<Uint8Array>;
	/** Requests so far, as `hub HEAD`, `cdn GET`. */
	counts(): Readonly<Record<string, number>>;
}

/** Everything a fetch test may want to be different. */
export interface StageOptions extends Partial<LocalHubOptions> {
	readonly repo?: Partial<LocalRepo>;
	readonly environment?: Partial<HubEnvironment>;
	readonly session?: Partial<HubSessionOptions>;
	/** Of {@link WEIGHTS}, as the listing would say. */
	readonly bytes?: number;
}

/** The commit of {@link REPO}. */
export const COMMIT: string = "c0ffee".padEnd(40, "0");

/** Sets up a {@link Stage}. */
export async function setStage(options: StageOptions = {}): Promise<Stage> {
	const files = new Map([
		["config.json", CONFIG],
		[WEIGHTS, CONTENT],
	]);
	const repos = [{ id: REPO, commit: COMMIT, files, ...options.repo }];
	const hub = await createLocalHub({ repos, ...options });
	const events: ProgressEvent[] = [];
	const session = createHubSession(environmentFor(hub.endpoint, options.environment), {
		connections: 4,
		timeouts: QUICK,
		onEvent: (event) => events.push(event),
		...options.session,
	});
	const bytes = options.bytes ?? CONTENT.length;
	const source = session.byteSource(REPO, COMMIT, new Map([[WEIGHTS, { bytes }]]));
	return {
		hub,
		session,
		source,
		commit: COMMIT,
		events,
		read: async (start = 0, end = bytes, signal) => {
			const into = new Uint8Array(end - start);
			await source.readInto({ file: WEIGHTS, start, end }, into, { signal });
			return into;
		},
		counts: () => {
			const counts: Record<string, number> = {};
			for (const { origin, method } of hub.requests) {
				counts[`${origin} ${method}`] = (counts[`${origin} ${method}`] ?? 0) + 1;
			}
			return counts;
		},
		[Symbol.asyncDispose]: async () => {
			await session[Symbol.asyncDispose]();
			await hub.close();
		},
	};
}
