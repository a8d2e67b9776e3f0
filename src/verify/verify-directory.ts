import { join } from "node:path";
import { HfStreamDcpError } from "../core/errors.ts";
import { at } from "../core/shape.ts";
import { quote } from "../dcp/corrupt.ts";
import { auditItem } from "./audit-item.ts";
import { checkPlannerPaths } from "./check-planner.ts";
import { checkCoverage } from "./coverage.ts";
import type { EntryVerdict, VerifyLevel } from "./entry-check.ts";
import { judgeData, judgeForm } from "./judge.ts";
import { layOutFiles, placeOf, type StoredItem } from "./places.ts";
import { Problems } from "./problem.ts";
import { createReadBuffers, type FileRange } from "./read-ahead.ts";
import type { VerifyCounts, VerifyProgress, VerifyReport } from "./report.ts";
import { bytesOfUnit, divideFile, type ScanUnit, whyUnreadable } from "./scan-unit.ts";
import { scanUnits } from "./scan-units.ts";
import { addAll, readSubject, type Subject } from "./subject.ts";

/** What is verified, and how closely. */
export interface VerifyDirectoryOptions {
	/** Absolute path. */
	readonly directory: string;
	readonly level: VerifyLevel;
	/** How many read and compare at once; `auto` leaves it to the cores and the work. */
	readonly threads: number | "auto";
	/** Cores that this process may use. */
	readonly cores: number;
	readonly signal?: AbortSignal | undefined;
	/** Called often; must be quick. */
	readonly onProgress?: ((progress: VerifyProgress) => void) | undefined;
}

/** Most threads without being asked. */
const MOST_THREADS = 16;

/** One thread for so many bytes at the least: SHA-256 keeps a core busy, CRC-32 is faster than what it waits for. */
const BYTES_PER_THREAD: { readonly [L in VerifyLevel]: number } = {
	quick: Infinity,
	data: 16 * 1024 ** 3,
	hashes: 512 * 1024 ** 2,
};

/** A unit ends after about so many bytes. */
const UNIT_BYTES = 256 * 1024 * 1024;

/**
 * Verifies a checkpoint: whether it is whole, and as it was written as far as the level looks. Nothing in it is executed.
 *
 * @returns The report; damage is not thrown.
 * @throws {HfStreamDcpError} `SOURCE_UNREADABLE` when there is no checkpoint; `OPTIONS_INVALID` for the level `hashes` when its manifest has
 * none; `DTYPE_UNSUPPORTED`.
 */
export async function verifyDirectory(options: VerifyDirectoryOptions): Promise<VerifyReport> {
	const startMs = performance.now();
	const run = new VerifyRun(options);
	await run.verify();
	return run.report((performance.now() - startMs) / 1000);
}

class VerifyRun {
	readonly #options: VerifyDirectoryOptions;
	readonly #problems = new Problems();
	readonly #warnings: string[] = [];
	readonly #counts: { -readonly [K in keyof VerifyCounts]: VerifyCounts[K] } = {
		tensors: 0,
		entries: 0,
		elsewhere: 0,
		objects: 0,
		files: 0,
		fileBytes: 0,
		readBytes: 0,
		canonical: 0,
		crcs: 0,
		hashes: 0,
	};
	/** Bytes that will be read, about. */
	#totalBytes = 0;
	#checkedEntries = 0;
	#subject: Subject | undefined;
	#units: ScanUnit[] = [];
	#contents: (readonly StoredItem[])[] = [];
	/** What is audited after the scan, with the first difference from what this program would have written. */
	readonly #odd = new Map<StoredItem, number | undefined>();

	constructor(options: VerifyDirectoryOptions) {
		this.#options = options;
	}

	async verify(): Promise<void> {
		const { directory, level } = this.#options;
		this.#subject = await readSubject(directory, this.#problems);
		if (this.#subject === undefined) return;
		if (level === "hashes") this.#assertHashes(this.#subject);
		this.#checkStructure(this.#subject);
		const fileOf = (unit: number): string => at(this.#units, unit).file;
		await scanUnits(this.#options, this.#units, this.#chooseThreads(), {
			onEntry: (unit, item, verdict) => this.#onEntry(unit, item, verdict),
			onPadding: (unit, range) => this.#onPadding(fileOf(unit), range),
			onUnreadable: (unit, reason) => this.#onUnreadable(fileOf(unit), reason),
			onRead: (bytes) => this.#onRead(bytes),
		});
		await this.#audit();
	}

	#chooseThreads(): number {
		const { threads, cores, level } = this.#options;
		if (threads !== "auto") return Math.min(threads, Math.max(1, this.#units.length));
		// A thread that reads and compares CRC-32s keeps two cores busy: one copies what the other looks at.
		const byCores = level === "hashes" ? cores : Math.floor(cores / 2);
		const byWork = Math.floor(this.#totalBytes / BYTES_PER_THREAD[level]);
		return Math.max(1, Math.min(byCores, byWork, this.#units.length, MOST_THREADS));
	}

	report(seconds: number): VerifyReport {
		const { directory, level } = this.#options;
		const { manifest } = this.#subject ?? {};
		return {
			directory,
			level,
			isGood: this.#problems.count === 0,
			origin:
				manifest === undefined
					? undefined
					: { repo: manifest.source.repo, commit: manifest.source.commit, tool: manifest.tool },
			counts: { ...this.#counts },
			seconds,
			problemCount: this.#problems.count,
			problems: this.#problems.kept,
			warnings: this.#warnings,
		};
	}

	#assertHashes({ manifest, directory }: Subject): void {
		// Where a manifest cannot be read that is told already.
		if (manifest?.hash === "sha256" || this.#problems.count > 0) return;
		const why = manifest === undefined ? "it has no manifest" : "its manifest has none";
		throw new HfStreamDcpError(
			"OPTIONS_INVALID",
			`${directory} has no hashes to compare with: ${why}`,
			{ hint: "Leave --hashes out: every CRC-32 is compared then.", facts: { directory } },
		);
	}

	#checkStructure(subject: Subject): void {
		const { stored, index, sizes, strays } = subject;
		const counts = this.#counts;
		addAll(this.#problems, checkCoverage(index?.tensors ?? stored.tensors));
		if (index !== undefined) addAll(this.#problems, checkPlannerPaths(index));
		const { layouts, problems } = layOutFiles(stored, sizes);
		addAll(this.#problems, problems);
		counts.tensors = stored.tensors.length;
		counts.objects = stored.objects.length;
		counts.files = layouts.length;
		for (const { entries } of stored.tensors) {
			counts.entries += entries.length;
			for (const { isElsewhere } of entries) if (isElsewhere) counts.elsewhere++;
		}
		for (const layout of layouts) {
			counts.fileBytes += layout.bytes;
			const { units, contents, odd } = divideFile(layout, stored.isOurs, UNIT_BYTES);
			for (const unit of units) {
				this.#units.push(unit);
				this.#totalBytes += bytesOfUnit(unit, this.#options.level);
			}
			for (const content of contents) this.#contents.push(content);
			for (const item of odd) this.#odd.set(item, undefined);
		}
		for (const name of strays) {
			const message = `${quote(name)} belongs to nothing in this checkpoint: it may be left of another one`;
			if (stored.isOurs) this.#problems.add({ kind: "stray", message, file: name });
			else this.#warnings.push(message);
		}
	}

	#onEntry(unit: number, item: number, verdict: EntryVerdict): void {
		const stored = at(at(this.#contents, unit), item);
		if (stored.kind === "object") return;
		const { entry } = stored;
		const withData = this.#options.level !== "quick";
		this.#checkedEntries++;
		if (verdict.isCanonical) this.#counts.canonical++;
		else this.#odd.set(stored, verdict.firstDifference);
		if (withData) this.#counts.crcs++;
		if (verdict.hash !== undefined) this.#counts.hashes++;
		// Of a container in another form the audit finds out where its data is, unless the manifest knows what it must be.
		if (verdict.isCanonical || entry.content.crc32 !== undefined) {
			addAll(this.#problems, judgeData(entry, verdict, withData));
		}
	}

	#onPadding(file: string, range: FileRange): void {
		const message = `${quote(file)} has bytes between entries that are not zero: ${range.start} to ${range.end}`;
		this.#problems.add({ kind: "padding", message, file, range });
	}

	#onUnreadable(file: string, reason: string): void {
		const message = `cannot read ${quote(file)}: ${reason}`;
		this.#problems.add({ kind: "unreadable", message, file });
	}

	#onRead(bytes: number): void {
		this.#counts.readBytes += bytes;
		this.#options.onProgress?.({
			checkedBytes: this.#counts.readBytes,
			totalBytes: this.#totalBytes,
			checkedEntries: this.#checkedEntries,
			entries: this.#counts.entries + this.#counts.objects,
			problems: this.#problems.count,
		});
	}

	async #audit(): Promise<void> {
		const byFile = new Map<string, StoredItem[]>();
		for (const item of this.#odd.keys()) {
			const { file } = placeOf(item);
			const items = byFile.get(file);
			if (items === undefined) byFile.set(file, [item]);
			else items.push(item);
		}
		const buffers = createReadBuffers(
			[...this.#odd.keys()].reduce((most, item) => Math.max(most, placeOf(item).length), 0),
		);
		for (const [file, items] of byFile) {
			const path = join(this.#options.directory, file);
			const reason = await whyUnreadable(path, async (handle) => {
				const context = {
					handle,
					withData: this.#options.level !== "quick",
					buffers,
					signal: this.#options.signal,
				};
				for (const item of items) {
					const { problems, warnings, crcs, bytes } = await auditItem(item, context);
					addAll(this.#problems, problems);
					this.#warnings.push(...warnings);
					this.#counts.crcs += crcs;
					this.#onRead(bytes);
					if (
						problems.length === 0 &&
						item.kind === "entry" &&
						this.#subject?.stored.isOurs === true
					) {
						this.#problems.add(judgeForm(item.entry, this.#odd.get(item)));
					}
				}
			});
			if (reason !== undefined) this.#onUnreadable(file, reason);
		}
	}
}
