import { readlinkSync } from "node:fs";
import { open, readFile, stat, unlink, utimes } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { HfStreamDcpError } from "../core/errors.ts";
import { writing } from "../files/writing.ts";

/** Held while a process writes into the directory. */
export const LOCK_NAME = ".hf-stream-dcp.lock";

/** How often a lock's holder shows that it is alive, by the file's modification time. */
const HEARTBEAT_MS = 5_000;
/** A lock without a sign of life for this long is left over from a process that was killed. */
const STALE_MS = 30_000;

/** Keeps other processes of this program out of a directory until it is disposed of. */
export interface DirectoryLock extends AsyncDisposable {
	/** Whether a lock of a dead process was taken over. */
	readonly tookOver: boolean;
}

/**
 * Takes the lock of `directory`, or that of a process that is dead: one of this machine that does not run any more, or one
 * without a sign of life for 30 seconds. Protects against the same command started twice by mistake, not against two takeovers
 * within the same milliseconds.
 *
 * @throws {HfStreamDcpError} `OUTPUT_EXISTS` when a live process holds it; `OUTPUT_WRITE`.
 */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
	const path = join(directory, LOCK_NAME);
	const created = await tryCreate(path);
	if (!created) {
		await checkStale(path, directory);
		await writing("remove", path, () => unlink(path)).catch(ignoreMissing);
		if (!(await tryCreate(path))) throw inUse(directory, "another process");
	}
	const beat = setInterval(() => {
		const now = new Date();
		// A missed beat is not worth failing for: the next one may succeed.
		void utimes(path, now, now).catch(() => {});
	}, HEARTBEAT_MS);
	beat.unref();
	return {
		tookOver: !created,
		async [Symbol.asyncDispose](): Promise<void> {
			clearInterval(beat);
			await unlink(path).catch(ignoreMissing);
		},
	};
}

/** Who we are: the machine, and the process namespace in which our pid means something. */
function thisMachine(): string {
	let namespace = "";
	try {
		namespace = readlinkSync("/proc/self/ns/pid");
	} catch {
		// Not Linux: one namespace per machine.
	}
	return `${hostname()} ${namespace}`;
}

async function tryCreate(path: string): Promise<boolean> {
	return writing("create", path, async () => {
		try {
			const handle = await open(path, "wx");
			try {
				await handle.writeFile(JSON.stringify({ pid: process.pid, machine: thisMachine() }));
			} catch (error) {
				await unlink(path);
				throw error;
			} finally {
				await handle.close();
			}
			return true;
		} catch (error) {
			if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
			throw error;
		}
	});
}

async function checkStale(path: string, directory: string): Promise<void> {
	let text: string;
	let ageMs: number;
	try {
		text = await readFile(path, "utf8");
		ageMs = Date.now() - (await stat(path)).mtimeMs;
	} catch {
		return;
	}
	if (ageMs > STALE_MS) return;
	const match = /^\{"pid":(\d+),"machine":(".*")\}$/.exec(text);
	if (match === null) throw inUse(directory, "another process");
	const [, pid, machine] = match;
	if (machine === JSON.stringify(thisMachine()) && !isAlive(Number(pid))) return;
	throw inUse(directory, `process ${pid} on machine ${machine}`);
}

function isAlive(pid: number): boolean {
	try {
		process.kill(pid, 0);
		return true;
	} catch (error) {
		return (error as NodeJS.ErrnoException).code === "EPERM";
	}
}

function inUse(directory: string, who: string): HfStreamDcpError {
	return new HfStreamDcpError("OUTPUT_EXISTS", `${directory} is being written by ${who}`, {
		hint: `Wait for it to end. If it was killed, try again in ${STALE_MS / 1000} seconds.`,
		facts: { directory },
		retryable: true,
	});
}

function ignoreMissing(error: unknown): void {
	const cause = error instanceof HfStreamDcpError ? error.cause : error;
	if ((cause as NodeJS.ErrnoException).code !== "ENOENT") throw error;
}
