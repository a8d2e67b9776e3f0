import { type FileHandle, open, unlink } from "node:fs/promises";
import { join } from "node:path";
import { systemTimers, type Timers } from "./timers.ts";
import { isGone, type ProcessIdentity, thisProcess } from "./process-identity.ts";
import { isTaken } from "../files/is-taken.ts";
import { isThere, listIfThere, readTextIfThere } from "../files/read-file.ts";
import { writing } from "../files/writing.ts";
import type { Job } from "./job.ts";
import { makeStateDirectory } from "./state.ts";

/** Signs of life in a lease: as many may get lost, but for one, before a holder is taken for dead. */
const BEATS_PER_LEASE = 6;

/** Room for the counter, so that every beat has the same length. */
const BEAT_DIGITS = 12;

/** What is known of the newest claim on something. */
export interface Sighting {
	/** Number of the newest claim; 0 when there never was one. */
	readonly number: number;
	/**
	 * `none`: nobody ever. `alive`: shows life, or was looked at for less than a lease. `released`: given back, with everything closed.
	 * `gone`: a process of this machine that does not run any more. `silent`: unchanged for a whole lease of watching; its holder is
	 * dead, or cut off, or stopped, and may come back.
	 */
	readonly state: "none" | "alive" | "released" | "gone" | "silent";
	/** How long this watcher has seen it unchanged, milliseconds. */
	readonly unchangedMs: number;
	/** Who holds it, for people. */
	readonly holder: string;
}

/** What this process holds. Disposal releases it. */
export interface Claim extends AsyncDisposable {
	/** From 1. Whoever takes over has a larger one. */
	readonly number: number;
	/** Whether somebody took it over, or all of it was removed: then nothing that its holder does counts any more. */
	isLost(): Promise<boolean>;
	/** Stops to show life without giving it back, and closes its file: for whoever is about to remove it. Never fails. */
	fallSilent(): Promise<void>;
	/** Gives it back: whoever wants it need not wait. What was written under it is closed. Never fails. */
	release(): Promise<void>;
}

/** Who claims, and for how long. */
export interface ClaimsOptions {
	/** Who this is, for people: `worker 3`. */
	readonly holder: string;
	/** How long a claim without a sign of life is respected, milliseconds. */
	readonly leaseMs: number;
	readonly timers?: Timers | undefined;
}

/**
 * The claims on one thing, as files `claim.1`, `claim.2`, … of a directory. The file with the largest number names the holder, who
 * rewrites it with a counter as long as it lives. Taking over is to create the next number, which only one process can.
 *
 * Nobody's clock is compared with anybody else's: a watcher measures how long a claim stays as it is. It is kept for as long as it
 * watches. A claim is a courtesy: two holders, of whom one believes wrongly that it still is, must do no harm to each other's work.
 */
export class Claims {
	readonly #directory: string;
	readonly #options: ClaimsOptions;
	readonly #timers: Timers;
	#seen: { readonly number: number; readonly content: string; readonly atMs: number } | undefined;

	constructor(directory: string, options: ClaimsOptions) {
		this.#directory = directory;
		this.#options = options;
		this.#timers = options.timers ?? systemTimers;
	}

	/**
	 * Looks at the newest claim.
	 *
	 * @throws {HfStreamDcpError} `OUTPUT_WRITE` when the directory cannot be read; a missing one has no claims.
	 */
	async look(): Promise<Sighting> {
		const number = await this.#newest();
		const content = number === 0 ? "" : ((await readTextIfThere(this.#pathOf(number))) ?? "");
		const now = this.#timers.now();
		if (this.#seen?.number !== number || this.#seen.content !== content) {
			this.#seen = { number, content, atMs: now };
		}
		const unchangedMs = now - this.#seen.atMs;
		const record = parseRecord(content);
		const holder = record === undefined ? "unknown" : describe(record);
		return { number, state: this.#stateOf(number, record, unchangedMs), unchangedMs, holder };
	}

	/**
	 * Whether the holder of claim `number`, the newest or not, will certainly do nothing any more.
	 *
	 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
	 */
	async isOver(number: number): Promise<boolean> {
		const record = parseRecord((await readTextIfThere(this.#pathOf(number))) ?? "");
		return record !== undefined && (record.released || isGone(record.process));
	}

	/**
	 * Creates the claim after number `after`.
	 *
	 * @returns `undefined` when another process has it already.
	 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
	 */
	async take(after: number): Promise<Claim | undefined> {
		const { holder, leaseMs } = this.#options;
		const path = this.#pathOf(after + 1);
		return writing("create", path, async () => {
			await makeStateDirectory(this.#directory);
			let handle: FileHandle;
			try {
				handle = await open(path, "wx");
			} catch (error) {
				if (await isTaken(error, path)) return undefined;
				throw error;
			}
			const everyMs = leaseMs / BEATS_PER_LEASE;
			const held = {
				handle,
				path,
				next: this.#pathOf(after + 2),
				number: after + 1,
				holder,
				everyMs,
			};
			return await HeldClaim.begin(held, this.#timers);
		});
	}

	#stateOf(
		number: number,
		record: ClaimRecord | undefined,
		unchangedMs: number,
	): Sighting["state"] {
		if (number === 0) return "none";
		if (record?.released === true) return "released";
		if (record !== undefined && isGone(record.process)) return "gone";
		return unchangedMs >= this.#options.leaseMs ? "silent" : "alive";
	}

	async #newest(): Promise<number> {
		return (await listIfThere(this.#directory)).reduce((newest, name) => {
			const number = Number(/^claim\.(\d+)$/.exec(name)?.[1] ?? 0);
			return Math.max(newest, number);
		}, 0);
	}

	#pathOf(number: number): string {
		return join(this.#directory, `claim.${number}`);
	}
}

/** The claims of a job's workers on what is kept at `path`. */
export function claimsOn({ holder, options, timers }: Job, path: string): Claims {
	return new Claims(path, { holder, leaseMs: options.leaseMs, timers });
}

/** What a claim's file says. */
interface ClaimRecord {
	readonly holder: string;
	readonly process: ProcessIdentity;
	readonly released: boolean;
	/** Grows while the holder lives. Text, padded. */
	readonly beat: string;
}

function parseRecord(content: string): ClaimRecord | undefined {
	try {
		return JSON.parse(content) as ClaimRecord;
	} catch {
		// Being written, or never finished: time will tell.
		return undefined;
	}
}

function describe({ holder, process }: ClaimRecord): string {
	return `${holder} (process ${process.pid} on ${process.host})`;
}

interface Held {
	readonly handle: FileHandle;
	readonly path: string;
	/** Path of the claim that somebody who takes over creates. */
	readonly next: string;
	readonly number: number;
	readonly holder: string;
	readonly everyMs: number;
}

class HeldClaim implements Claim {
	readonly number: number;
	readonly #held: Held;
	readonly #stop: () => void;
	readonly #process = thisProcess();
	#beats = 0;
	#writing: Promise<void> = Promise.resolve();
	#isReleased = false;

	private constructor(held: Held, timers: Timers) {
		this.#held = held;
		this.number = held.number;
		this.#stop = timers.every(held.everyMs, () => {
			// One after the other; a beat that cannot be written is a missed one.
			this.#writing = this.#writing.then(() => this.#beat().catch(() => {}));
		});
	}

	static async begin(held: Held, timers: Timers): Promise<HeldClaim> {
		const claim = new HeldClaim(held, timers);
		try {
			await claim.#beat();
			return claim;
		} catch (error) {
			claim.#stop();
			await held.handle.close().catch(() => {});
			// Otherwise everybody would wait for a holder that there is not.
			await unlink(held.path).catch(() => {});
			throw error;
		}
	}

	async isLost(): Promise<boolean> {
		const { path, next } = this.#held;
		return (await isThere(next)) || !(await isThere(path));
	}

	async fallSilent(): Promise<void> {
		if (this.#isReleased) return;
		await this.#end();
		await this.#held.handle.close().catch(() => {});
	}

	async release(): Promise<void> {
		if (this.#isReleased) return;
		await this.#end();
		const { handle } = this.#held;
		// In place, as on a full disk nothing else can be written. Where this fails, others wait for a lease.
		await write(handle, this.#content(true)).catch(() => {});
		await handle.close().catch(() => {});
	}

	async #end(): Promise<void> {
		this.#isReleased = true;
		this.#stop();
		await this.#writing;
	}

	[Symbol.asyncDispose](): Promise<void> {
		return this.release();
	}

	async #beat(): Promise<void> {
		this.#beats++;
		await write(this.#held.handle, this.#content(false));
	}

	/** Of the same length each time, so that one replaces the other. */
	#content(released: boolean): string {
		const { holder } = this.#held;
		const beat = String(this.#beats).padStart(BEAT_DIGITS, "0");
		const record: ClaimRecord = { holder, process: this.#process, released, beat };
		return `${JSON.stringify(record)}${released ? " " : ""}`;
	}
}

async function write(handle: FileHandle, content: string): Promise<void> {
	await handle.write(Buffer.from(content), 0, undefined, 0);
	// Network file systems send it now.
	await handle.datasync();
}
