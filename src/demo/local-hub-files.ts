import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";

/** A file on disk whose hash need not be computed, because it is known or because it may be invented. */
export interface DiskFile {
	readonly diskPath: string;
	/** Lower-case hex of 64 digits. */
	readonly sha256?: string | undefined;
}

/** One repository to serve. Exactly one of `directory` and `files` is given. */
export interface LocalRepo {
	/** `org/name`. */
	readonly id: string;
	/** Every file below it is served; read when it is asked for. */
	readonly directory?: string | undefined;
	/** Content by path. */
	readonly files?: ReadonlyMap<string, Uint8Array | DiskFile> | undefined;
	/** 40 hex digits. @default made from the id */
	readonly commit?: string | undefined;
	/** `gated`: everybody sees the listing, only readers the files. `private`: others see nothing. @default "public" */
	readonly access?: "public" | "gated" | "private" | undefined;
	/** Tokens that may read a gated or private repository. */
	readonly readers?: readonly string[] | undefined;
}

/** A file as the servers see it. */
export interface StoredFile {
	readonly path: string;
	readonly bytes: number;
	/** Whether it is in large-file storage: then the Hub redirects to the CDN. */
	readonly isLarge: boolean;
	/** SHA-256 of the content, lower-case hex. Computed once, when it is first needed. */
	readonly sha256: () => Promise<string>;
	/** The id of the content as a git blob, lower-case hex. */
	readonly gitOid: () => Promise<string>;
	/** Bytes `[start, end)`. */
	readonly read: (start: number, end: number) => Readable;
}

/** A repository as the servers see it. */
export interface StoredRepo {
	readonly id: string;
	readonly commit: string;
	readonly access: "public" | "gated" | "private";
	readonly readers: readonly string[];
	/** By path, sorted. */
	readonly files: ReadonlyMap<string, StoredFile>;
}

/** Files that the Hub's default `.gitattributes` puts into large-file storage. */
const LARGE_FILE = /\.(safetensors|bin|pt|pth|gguf|onnx|h5|msgpack)$/;

async function* filesBelow(directory: string): AsyncGenerator<string> {
	for (const entry of await readdir(directory, { withFileTypes: true })) {
		const path = join(directory, entry.name);
		if (entry.isDirectory()) yield* filesBelow(path);
		else yield path;
	}
}

function memoise<T>(work: () => Promise<T>): () => Promise<T> {
	let result: Promise<T> | undefined;
	return () => (result ??= work());
}

async function digest(algorithm: string, prefix: string, content: Readable): Promise<string> {
	const hash = createHash(algorithm).update(prefix);
	await pipeline(content, hash);
	return hash.digest("hex");
}

function store(
	path: string,
	bytes: number,
	read: StoredFile["read"],
	sha256: string | undefined,
): StoredFile {
	return {
		path,
		bytes,
		isLarge: LARGE_FILE.test(path),
		read,
		sha256: memoise(async () => sha256 ?? digest("sha256", "", read(0, bytes))),
		gitOid: memoise(() => digest("sha1", `blob ${bytes}\0`, read(0, bytes))),
	};
}

async function storeDiskFile(path: string, file: DiskFile): Promise<StoredFile> {
	const { size } = await stat(file.diskPath);
	const read: StoredFile["read"] = (start, end) =>
		start === end ? Readable.from([]) : createReadStream(file.diskPath, { start, end: end - 1 });
	return store(path, size, read, file.sha256);
}

function storeBytes(path: string, content: Uint8Array): StoredFile {
	const read: StoredFile["read"] = (start, end) =>
		Readable.from(start === end ? [] : [content.subarray(start, end)]);
	return store(path, content.length, read, undefined);
}

/** Looks at every file of `repo`; reads none yet. */
export async function loadRepo(repo: LocalRepo): Promise<StoredRepo> {
	const files: StoredFile[] = [];
	if (repo.directory !== undefined) {
		for await (const diskPath of filesBelow(repo.directory)) {
			const path = relative(repo.directory, diskPath).split(sep).join("/");
			files.push(await storeDiskFile(path, { diskPath }));
		}
	}
	for (const [path, content] of repo.files ?? []) {
		const isDisk = "diskPath" in content;
		files.push(isDisk ? await storeDiskFile(path, content) : storeBytes(path, content));
	}
	const sorted = files.toSorted((a, b) => (a.path < b.path ? -1 : 1));
	return {
		id: repo.id,
		commit: repo.commit ?? createHash("sha1").update(repo.id).digest("hex"),
		access: repo.access ?? "public",
		readers: repo.readers ?? [],
		files: new Map(sorted.map((file) => [file.path, file])),
	};
}
