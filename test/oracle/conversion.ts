import { mkdtemp, open, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLocalHub } from "../../src/demo/local-hub.ts";

/** What a test file opened and must close, last first. */
export class Resources {
	readonly #opened: AsyncDisposable[] = [];

	use<T extends AsyncDisposable>(resource: T): T {
		this.#opened.push(resource);
		return resource;
	}

	async dispose(): Promise<void> {
		for (const resource of this.#opened.splice(0).toReversed())
			await resource[Symbol.asyncDispose]();
	}
}

/** A directory that is gone afterwards. */
export async function temporaryDirectory(): Promise<AsyncDisposable & { readonly path: string }> {
	const path = await mkdtemp(join(tmpdir(), "hf-stream-dcp-oracle-"));
	return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** A tensor of a safetensors file; `begin` and `end` are offsets in the file, half-open. */
export interface SavedTensor {
	readonly name: string;
	readonly begin: number;
	readonly end: number;
}

/** A safetensors file: where its header ends, and its tensors. */
export interface SavedFile {
	readonly name: string;
	/** 8 + N: the length field and the JSON. */
	readonly headerBytes: number;
	readonly tensors: readonly SavedTensor[];
}

/** The safetensors files of a local model, read without this project's own parser. */
export async function readSavedFiles(directory: string): Promise<readonly SavedFile[]> {
	const names = (await readdir(directory)).filter((name) => name.endsWith(".safetensors"));
	return Promise.all(names.map((name) => readSavedFile(directory, name)));
}

async function readSavedFile(directory: string, name: string): Promise<SavedFile> {
	await using file = await open(join(directory, name));
	const length = (await file.read(Buffer.alloc(8), 0, 8, 0)).buffer.readBigUInt64LE();
	const headerBytes = 8 + Number(length);
	const { buffer } = await file.read(Buffer.alloc(Number(length)), 0, Number(length), 8);
	const header = JSON.parse(buffer.toString()) as {
		readonly [name: string]: { readonly data_offsets: readonly [number, number] };
	};
	const tensors = Object.entries(header)
		.filter(([tensor]) => tensor !== "__metadata__")
		.map(
			([
				tensor,
				{
					data_offsets: [begin, end],
				},
			]) => ({
				name: tensor,
				begin: headerBytes + begin,
				end: headerBytes + end,
			}),
		);
	return { name, headerBytes, tensors };
}

/** A half-open byte range of one file that was asked for. */
export interface RequestedRange {
	readonly file: string;
	readonly start: number;
	readonly end: number;
}

/** Sum of the ranges' lengths, and the bytes among them that were asked for more than once. */
export function countRanges(ranges: readonly RequestedRange[]): {
	readonly bytes: number;
	readonly repeated: number;
} {
	const sorted = ranges.toSorted((a, b) => a.file.localeCompare(b.file) || a.start - b.start);
	let bytes = 0;
	let repeated = 0;
	let last: RequestedRange | undefined;
	for (const range of sorted) {
		bytes += range.end - range.start;
		const seen = last?.file === range.file ? last.end : 0;
		repeated += Math.max(0, Math.min(seen, range.end) - range.start);
		if (last?.file !== range.file || range.end > last.end) last = range;
	}
	return { bytes, repeated };
}

/** A local Hub that serves every model of a folder as `tests/NAME`. */
export interface ModelHub extends AsyncDisposable {
	readonly endpoint: string;
	/** Every range of every large file that was asked for so far; a GET of a whole file counts as its range. */
	ranges(): readonly RequestedRange[];
}

/** Serves the models below `directory` on loopback. */
export async function openModelHub(directory: string): Promise<ModelHub> {
	const repos = (await readdir(directory)).map((name) => ({
		id: `tests/${name}`,
		directory: join(directory, name),
	}));
	const hub = await createLocalHub({ repos });
	return {
		endpoint: hub.endpoint,
		ranges: () =>
			hub.requests
				.filter(({ origin, method }) => origin === "cdn" && method === "GET")
				.map(({ path, range, bytes }) => {
					const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
					if (first === undefined) return { file: path, start: 0, end: bytes };
					return { file: path, start: Number(first), end: Number(last) + 1 };
				}),
		[Symbol.asyncDispose]: () => hub[Symbol.asyncDispose](),
	};
}
