import { rm } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { HfStreamDcpError, invariant } from "../core/errors.ts";
import type { FinishedEntry } from "../core/ports.ts";
import { probeWriteMode, type WriteMode } from "../dcp/write-mode.ts";
import { listIfThere } from "../files/read-file.ts";
import { replaceFile } from "../files/replace-file.ts";
import type { Claims } from "./claims.ts";
import { type Finished, Journal, journalPath, readJournal } from "./journal.ts";
import type { PreparedJob } from "./prepare.ts";
import { copyFinished, publishFiles, type ShareFiles, stillThere } from "./share-files.ts";
import type { ShareTurn } from "./share-turns.ts";
import type { ShareCourse } from "./timeline.ts";
import { makeStateDirectory, shareName, sharePath } from "./state.ts";
import type { ShareReport, WorkFigures } from "../core/job-summary.ts";

/** What only the caller of {@link HeldShare.finish} knows. */
export interface ShareResult extends Omit<WorkFigures, "resumedEntries"> {
	/** How it went on. */
	readonly course?: ShareCourse | undefined;
}

/** A share that this process holds: its files and its journal. Disposal closes the journal; the claim is to be released after it. */
export interface HeldShare extends AsyncDisposable {
	readonly share: number;
	/** Where its data files are to be written, under the names that they will have in the checkpoint. */
	readonly directory: string;
	/** How they are to be written. */
	readonly writeMode: WriteMode;
	/** Entries that earlier attempts finished. */
	readonly resumed: ReadonlySet<number>;
	/**
	 * Writes down entries whose files were synced. They are in the journal, durably, when it resolves. Calls at the same time share a
	 * sync of the journal.
	 *
	 * @throws {HfStreamDcpError} `SHARE_TAKEN_OVER`; `OUTPUT_WRITE`, then and at every later call: nothing is known of the journal any
	 * more.
	 */
	record(finished: readonly FinishedEntry[]): Promise<void>;
	/**
	 * Declares the share whole: its files go to their final place. Every entry is recorded, and the data files are closed.
	 *
	 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
	 */
	finish(result: ShareResult): Promise<void>;
	/** Whether another process holds it meanwhile, or the job's state is gone. */
	isLost(): Promise<boolean>;
}

/**
 * Opens a share that was claimed, and takes over what others finished of it. When whoever held it last is certainly over, its files are
 * gone on with. Otherwise it may come back from wherever it is, and even the operating system of its machine may still send what it
 * wrote: so its finished entries are copied into files of our own, each compared with its CRC.
 *
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export async function openShare(
	job: PreparedJob,
	turn: ShareTurn,
	files: ShareFiles,
): Promise<HeldShare> {
	const number = turn.claim.number;
	const path = sharePath(job.planPath, turn.share);
	const earlier = await readEarlier(path, number);
	const isOver = earlier !== undefined && (await areOver(turn.claims, earlier.number, number));
	const attempt = isOver ? earlier.attempt : number;
	const directory = attemptPath(path, attempt);
	// Not with the folders above it: when the job was finished and its state removed meanwhile, that must not come back.
	await makeStateDirectory(directory);
	const finished = await adopt();
	const header = { entries: files.entries.length, attempt };
	const journal = await Journal.create(journalPath(path, number), { header, finished });
	const writeMode = await probeWriteMode(directory);
	// Asked before the first write: whoever took over while this process was stopped may have gone on with the same files.
	if (await turn.claim.isLost()) {
		await journal[Symbol.asyncDispose]();
		throw takenOver(turn.share);
	}
	return new OpenShare(job, turn, { files, path, directory, writeMode, journal, finished });

	async function adopt(): Promise<Finished> {
		if (earlier === undefined) return new Map();
		if (isOver) return await stillThere(files, directory, earlier.finished);
		const { holder } = turn.before;
		job.emit({
			kind: "warning",
			message: `share ${turn.share}: copying what ${holder} finished, which may still be writing (${earlier.finished.size} of ${files.entries.length} entries)`,
		});
		return await copyFinished(
			files,
			attemptPath(path, earlier.attempt),
			directory,
			earlier.finished,
		);
	}
}

/** Whether no holder from claim `first` up to but not including `end` will do anything any more: each may go on with the first's files. */
async function areOver(claims: Claims, first: number, end: number): Promise<boolean> {
	for (let number = first; number < end; number++) {
		if (!(await claims.isOver(number))) return false;
	}
	return true;
}

function takenOver(share: number): HfStreamDcpError {
	return new HfStreamDcpError(
		"SHARE_TAKEN_OVER",
		`share ${share} was taken over by another worker`,
		{
			hint: "This worker gave no sign of life for a while. The other one finishes it.",
			facts: { share },
		},
	);
}

function attemptPath(path: string, attempt: number): string {
	return join(path, `attempt.${attempt}`);
}

/** What the newest journal before claim `number` says, and the claim it was written under. */
async function readEarlier(
	path: string,
	number: number,
): Promise<
	{ readonly number: number; readonly attempt: number; readonly finished: Finished } | undefined
> {
	const numbers = (await listIfThere(path))
		.map((name) => Number(/^journal\.(\d+)$/.exec(name)?.[1] ?? 0))
		.filter((other) => other > 0 && other < number)
		.toSorted((a, b) => b - a);
	for (const other of numbers) {
		const journal = await readJournal(journalPath(path, other));
		// A journal appears whole, with what it took over from those before.
		if (journal === undefined) continue;
		return { number: other, attempt: journal.header.attempt, finished: journal.finished };
	}
	return undefined;
}

class OpenShare implements HeldShare {
	readonly share: number;
	readonly directory: string;
	readonly writeMode: WriteMode;
	readonly resumed: ReadonlySet<number>;
	readonly #job: PreparedJob;
	readonly #turn: ShareTurn;
	readonly #files: ShareFiles;
	readonly #path: string;
	readonly #journal: Journal;
	/** In the journal, or on the way there. */
	readonly #recorded: Set<number>;
	#waiting: FinishedEntry[] = [];
	#recording: Promise<void> = Promise.resolve();
	#isDisposed = false;

	constructor(
		job: PreparedJob,
		turn: ShareTurn,
		opened: Pick<HeldShare, "directory" | "writeMode"> & {
			readonly files: ShareFiles;
			readonly path: string;
			readonly journal: Journal;
			readonly finished: Finished;
		},
	) {
		this.share = turn.share;
		this.directory = opened.directory;
		this.writeMode = opened.writeMode;
		this.resumed = new Set(opened.finished.keys());
		this.#job = job;
		this.#turn = turn;
		this.#files = opened.files;
		this.#path = opened.path;
		this.#journal = opened.journal;
		this.#recorded = new Set(this.resumed);
	}

	record(finished: readonly FinishedEntry[]): Promise<void> {
		for (const entry of finished) {
			invariant(!this.#recorded.has(entry.index), `entry ${entry.index} is finished already`);
			this.#recorded.add(entry.index);
			this.#waiting.push(entry);
		}
		this.#recording = this.#recording.then(() => this.#recordWaiting());
		return this.#recording;
	}

	async finish({ course, ...figures }: ShareResult): Promise<void> {
		const count = this.#files.entries.length;
		invariant(this.#recorded.size === count, `${this.#recorded.size} of ${count} entries finished`);
		await this.#recording;
		if (await this.isLost()) throw takenOver(this.share);
		await publishFiles(this.#files, this.directory);
		const { claim, isTakenOver } = this.#turn;
		const facts = { share: this.share, attempts: claim.number, takenOver: isTakenOver };
		const report: ShareReport = {
			...facts,
			worker: this.#job.options.worker.index,
			host: hostname(),
			resumedEntries: this.resumed.size,
			...figures,
			...(course === undefined ? undefined : { timeline: { ...facts, ...course } }),
		};
		const done = join(this.#job.donePath, shareName(this.share));
		await replaceFile(done, Buffer.from(`${JSON.stringify(report)}\n`));
		// Whatever earlier attempts copied or left: the disk may need the room.
		for (const name of await listIfThere(this.#path)) {
			if (!name.startsWith("attempt.")) continue;
			await rm(join(this.#path, name), { recursive: true, force: true }).catch(() => {});
		}
	}

	isLost(): Promise<boolean> {
		return this.#turn.claim.isLost();
	}

	async #recordWaiting(): Promise<void> {
		const entries = this.#waiting;
		this.#waiting = [];
		if (await this.isLost()) throw takenOver(this.share);
		await this.#journal.append(entries);
	}

	async [Symbol.asyncDispose](): Promise<void> {
		if (this.#isDisposed) return;
		this.#isDisposed = true;
		// Whoever recorded has heard of a failure.
		await this.#recording.catch(() => {});
		await this.#journal[Symbol.asyncDispose]();
	}
}
