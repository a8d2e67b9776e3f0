import { mkdir, readdir, stat, statfs, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { HfStreamDcpError } from "../core/errors.ts";
import type { Entry } from "../core/ports.ts";
import { at } from "../core/shape.ts";
import type { PlannedFile } from "./data-files.ts";
import { JOURNAL_NAME, type JournalContents, type JournalHeader, readJournal } from "./journal.ts";
import { writing } from "../files/writing.ts";
import { syncDirectory } from "../files/sync-directory.ts";

/** `.metadata`, or `__{rank}.metadata`, which torch writes without collectives and reads when `.metadata` is missing. */
const METADATA_PATTERN = /^(?:__\d+)?\.metadata$/;
/** Data files as torch and this program name them. */
const DATA_PATTERN = /^__\d+_\d+\.distcp$/;
/** Room to leave for `.metadata`, its journal and the file system's own blocks, for each entry. */
const OVERHEAD_BYTES_PER_ENTRY = 256;

/** What a checkpoint needs of its directory. */
export interface DirectoryDemand {
	readonly directory: string;
	readonly planId: string;
	readonly entries: readonly Entry[];
	readonly files: readonly PlannedFile[];
	/** Whether what another run left may be deleted. */
	readonly overwrite: boolean;
}

/**
 * Creates the directory if need be.
 *
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export async function createDirectory(directory: string): Promise<void> {
	await writing("create", directory, () => makeDirectories(directory, false));
}

/** Like `mkdir` with `recursive`, which in Node 20 reports a read-only file system as a missing directory. */
async function makeDirectories(path: string, hasParent: boolean): Promise<void> {
	try {
		await mkdir(path);
		// Its files are synced into it; it must itself outlive a crash.
		await syncDirectory(dirname(path));
	} catch (error) {
		const { code } = error as NodeJS.ErrnoException;
		if (code === "EEXIST" && (await stat(path)).isDirectory()) return;
		if (code !== "ENOENT" || hasParent) throw error;
		await makeDirectories(dirname(path), false);
		await makeDirectories(path, true);
	}
}

/**
 * Makes the directory ready: refuses to touch another checkpoint, checks the free space, and with `overwrite` removes what is
 * there, `.metadata` first, so that no moment shows a whole checkpoint that is not. Only metadata, journals and data files are ever
 * removed; other files stay.
 *
 * @returns What an earlier run of the same plan finished, or `undefined` to begin anew.
 * @throws {HfStreamDcpError} `OUTPUT_EXISTS`, `PLAN_CHANGED`, or `OUTPUT_WRITE` when the disk has no room for the plan.
 */
export async function prepareDirectory(
	demand: DirectoryDemand,
): Promise<JournalContents | undefined> {
	const { directory, overwrite } = demand;
	const names = await writing("read", directory, () => readdir(directory));
	const planned = new Set(demand.files.map(({ name }) => name));
	const metadata = names.filter((name) => METADATA_PATTERN.test(name));
	const data = names.filter((name) => DATA_PATTERN.test(name) || planned.has(name));
	const journal = await readJournal(join(directory, JOURNAL_NAME));
	if (!overwrite) refuseForeign(demand, { metadata, data, journal });
	const isOurs = typeof journal === "object" && isOf(demand, journal.header);
	const earlier = metadata.length === 0 && isOurs ? journal : undefined;
	await checkSpace(demand, data);
	if (earlier !== undefined) return stillThere(demand, earlier);
	for (const group of [metadata, [JOURNAL_NAME], data]) {
		for (const name of group) await removeFile(join(directory, name));
		await writing("sync", directory, () => syncDirectory(directory));
	}
	return undefined;
}

function isOf(demand: DirectoryDemand, header: JournalHeader): boolean {
	return header.planId === demand.planId && header.entries === demand.entries.length;
}

function refuseForeign(
	demand: DirectoryDemand,
	found: {
		readonly metadata: readonly string[];
		readonly data: readonly string[];
		readonly journal: JournalContents | "unreadable" | "missing";
	},
): void {
	const { directory } = demand;
	const hint = "Choose another directory, or pass --overwrite to replace what is there.";
	const facts = { directory };
	if (found.metadata.length > 0) {
		const message = `${directory} already holds a finished checkpoint`;
		throw new HfStreamDcpError("OUTPUT_EXISTS", message, { hint, facts });
	}
	if (found.journal === "unreadable") {
		const message = `${directory} holds an unfinished checkpoint whose ${JOURNAL_NAME} cannot be read`;
		throw new HfStreamDcpError("OUTPUT_EXISTS", message, { hint, facts });
	}
	if (found.journal === "missing" && found.data.length > 0) {
		const message = `${directory} holds data files of an unfinished checkpoint of another program: ${found.data[0]}`;
		throw new HfStreamDcpError("OUTPUT_EXISTS", message, { hint, facts });
	}
	if (typeof found.journal === "object" && !isOf(demand, found.journal.header)) {
		throw new HfStreamDcpError(
			"PLAN_CHANGED",
			`${directory} holds an unfinished checkpoint of another plan: the model, its revision, the layout, the dtype or the version of this program (${found.journal.header.tool}) differ`,
			{
				hint: "Repeat the first command to finish it, choose another directory, or pass --overwrite to begin anew.",
				facts: { ...facts, found: found.journal.header.planId, expected: demand.planId },
			},
		);
	}
}

/** Fails when the plan's bytes exceed the free space and what its files, or those it replaces, occupy already. */
async function checkSpace(demand: DirectoryDemand, data: readonly string[]): Promise<void> {
	const { directory, files } = demand;
	const { bavail, bsize, blocks } = await writing("inspect", directory, () => statfs(directory));
	// Some network and FUSE file systems do not know.
	if (blocks === 0) return;
	const names = files.map(({ name }) => name);
	let usableBytes = bavail * bsize;
	for (const name of new Set([...names, ...data])) {
		const facts = await statIfThere(join(directory, name));
		// Unlike `size`, this does not count holes. `st_blocks` counts units of 512 bytes on every system.
		usableBytes += (facts?.blocks ?? 0) * 512;
	}
	const planBytes = files.reduce((sum, { bytes }) => sum + bytes, 0);
	const neededBytes = planBytes + demand.entries.length * OVERHEAD_BYTES_PER_ENTRY;
	if (neededBytes <= usableBytes) return;
	throw new HfStreamDcpError(
		"OUTPUT_WRITE",
		`the checkpoint takes ${gibibytes(neededBytes)}, and ${directory} has room for ${gibibytes(usableBytes)}`,
		{
			hint: `Free ${gibibytes(neededBytes - usableBytes)} more there, or choose a directory on another disk.`,
			facts: { directory, neededBytes, usableBytes },
		},
	);
}

/** Leaves out the entries of files that were deleted or cut since. */
async function stillThere(
	{ directory, files, entries }: DirectoryDemand,
	{ header, finished }: JournalContents,
): Promise<JournalContents> {
	const whole = new Set<string>();
	for (const { name, bytes } of files) {
		const facts = await statIfThere(join(directory, name));
		if (facts?.size === bytes) whole.add(name);
	}
	const kept = [...finished].filter(([index]) => whole.has(at(entries, index).file));
	return { header, finished: new Map(kept) };
}

/**
 * Makes sure that every data file is still there, at its size.
 *
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export async function findDataFiles(
	directory: string,
	files: readonly PlannedFile[],
): Promise<void> {
	for (const { name, bytes } of files) {
		const path = join(directory, name);
		const { size } = await writing("inspect", path, () => stat(path));
		if (size === bytes) continue;
		throw new HfStreamDcpError("OUTPUT_WRITE", `${path} has ${size} bytes instead of ${bytes}`, {
			hint: "Something else writes into the directory. Stop it, then run the same command again.",
			facts: { path, size, bytes },
		});
	}
}

async function statIfThere(
	path: string,
): Promise<{ readonly size: number; readonly blocks: number } | undefined> {
	return writing("inspect", path, async () => {
		try {
			return await stat(path);
		} catch (error) {
			if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
			throw error;
		}
	});
}

async function removeFile(path: string): Promise<void> {
	await writing("remove", path, async () => {
		try {
			await unlink(path);
		} catch (error) {
			if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
		}
	});
}

/** `1.5 GiB`, rounded up so that freeing this much is enough. */
function gibibytes(bytes: number): string {
	const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
	let value = bytes;
	let unit = 0;
	while (value >= 1024 && unit < units.length - 1) {
		value /= 1024;
		unit++;
	}
	return `${Math.ceil(value * 10) / 10} ${units[unit]}`;
}
