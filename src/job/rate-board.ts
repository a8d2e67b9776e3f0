import { mkdir, open, readFile, rename, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { MAX_RATE_WAIT_MS, type RateBoard, type RateLimit } from "../core/rate-board.ts";
import { temporaryName } from "../files/replace-file.ts";

/** Folder of a job's state with the limits that are used up. */
export const LIMITS_FOLDER = "limits";

/** What a limit's file says: the milliseconds since 1970 until which it is used up. */
const CONTENT = /^used up until (\d{1,15})\n$/;

/** A later posting is written only if it prolongs by this much, milliseconds: all workers that get the same answer post it. */
const WORTH_POSTING_MS = 1000;

/**
 * A board in a directory that all workers see: one small file for each limit, replaced as a whole. Times are absolute, so the clocks
 * of the machines should agree to a second or two, as they do with NTP; what lies further ahead than any Hub makes one wait, or has
 * passed, counts for nothing. A directory that is missing, full or ill is a board that says nothing.
 *
 * @param directory - Created when it is first needed, if its parent exists: what others removed is not brought back.
 * @param now - Milliseconds since 1970. @default Date.now
 */
export function createRateBoard(directory: string, now: () => number = Date.now): RateBoard {
	const prepared = new Set<string>();

	/** Milliseconds since 1970; 0 when there is nothing that counts. */
	const read = async (path: string): Promise<number> => {
		try {
			const until = Number(CONTENT.exec(await readFile(path, "utf8"))?.[1] ?? 0);
			return until - now() > MAX_RATE_WAIT_MS ? 0 : until;
		} catch (error) {
			if ((error as NodeJS.ErrnoException).code === "ENOENT" && !prepared.has(path)) {
				prepared.add(path);
				await prepare(directory, path);
			}
			return 0;
		}
	};
	return {
		closedMs: async (limit) => Math.max(0, (await read(join(directory, nameOf(limit)))) - now()),
		async close(limit, ms) {
			const until = Math.ceil(now() + ms);
			const path = join(directory, nameOf(limit));
			if (until < (await read(path)) + WORTH_POSTING_MS) return;
			const temporary = temporaryName(path);
			try {
				// Not synced: after a crash of the machine it is worth no more than what the Hub will say again.
				await writeFile(temporary, `used up until ${until}\n`, { flag: "wx" });
				await rename(temporary, path);
			} catch {
				await unlink(temporary).catch(() => {});
			}
		},
	};
}

/**
 * Makes the file of a limit exist, empty. A client of NFS may remember for a minute that a file is missing, but asks the server about
 * one that it knows each time it is opened.
 */
async function prepare(directory: string, path: string): Promise<void> {
	await mkdir(directory).catch(() => {});
	const handle = await open(path, "wx").catch(() => undefined);
	await handle?.close().catch(() => {});
}

/** `resolvers@huggingface.co`; a port is set off by a plus, because not every file system takes a colon. */
function nameOf({ bucket, host }: RateLimit): string {
	return `${bucket}@${host.replace(":", "+").replaceAll(/[^\w.+-]/g, "_")}`;
}
