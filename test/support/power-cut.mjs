/**
 * What a process did with files and did not make durable, so that it can be undone: a machine that loses power forgets it. Names are
 * forgotten from some moment on, as file systems with a journal do, data of files in any selection.
 *
 * Every `before…` is called before an operation and returns what is to be called when it succeeded. What is recursive is not undone.
 */
import fs from "node:fs";
import { basename, dirname, join, resolve } from "node:path";

const original = { ...fs };

/** @typedef {{ key: string, kind: "name" | "data", undo: () => void }} Step */

/** Steps that are not durable, in order. @type {Set<Step>} */
const steps = new Set();

/** Descriptors of our own, by inode: files may be renamed and closed. @type {Map<string, number>} */
const descriptors = new Map();

/** Bytes of journals that the program was told are durable, by path. @type {Map<string, number>} */
const promised = new Map();

let kept = 0;

function exists(path) {
	return original.existsSync(path);
}

/** A second name for a file that is about to lose its own; outside of the directories that the program looks into. */
function keep(root, path) {
	const folder = join(dirname(root), `${basename(root)}.kept`);
	original.mkdirSync(folder, { recursive: true });
	const name = join(folder, `${process.pid}-${kept++}`);
	original.linkSync(path, name);
	return name;
}

function inodeOf(stat) {
	return `inode ${stat.ino}`;
}

function step(key, kind, undo) {
	steps.add({ key, kind, undo });
}

function nameStep(path, undo) {
	step(`names ${dirname(resolve(path))}`, "name", undo);
}

/** Undo the log of one process. `root`: all that counts is below it. */
export function createPowerCut(root, random) {
	return {
		beforeOpen(path, truncates) {
			const isNew = !exists(path);
			const content = !isNew && truncates ? original.readFileSync(path) : undefined;
			return () => {
				const descriptor = original.openSync(path, "r+");
				const key = inodeOf(original.fstatSync(descriptor));
				if (descriptors.has(key)) original.closeSync(descriptor);
				else descriptors.set(key, descriptor);
				if (isNew) nameStep(path, () => original.unlinkSync(path));
				if (content === undefined) return;
				const own = descriptors.get(key);
				step(key, "data", () => original.writeSync(own, content, 0, content.length, 0));
			};
		},

		/** @param position - `undefined` for the end of the file. */
		beforeWrite(descriptor, position, length) {
			const stat = original.fstatSync(descriptor);
			const key = inodeOf(stat);
			const own = descriptors.get(key);
			if (own === undefined) return () => {};
			const start = position ?? stat.size;
			const old = Buffer.alloc(Math.max(0, Math.min(length, stat.size - start)));
			original.readSync(own, old, 0, old.length, start);
			return () =>
				step(key, "data", () => {
					original.writeSync(own, old, 0, old.length, start);
					if (start + length > stat.size) original.ftruncateSync(own, stat.size);
				});
		},

		beforeTruncate(descriptor) {
			const stat = original.fstatSync(descriptor);
			const key = inodeOf(stat);
			const own = descriptors.get(key);
			if (own === undefined) return () => {};
			return () => step(key, "data", () => original.ftruncateSync(own, stat.size));
		},

		/** Makes durable what was done before the sync began. */
		beforeSync(descriptor) {
			const stat = original.fstatSync(descriptor);
			const path = original.readlinkSync(`/proc/self/fd/${descriptor}`);
			const key = stat.isDirectory() ? `names ${path}` : inodeOf(stat);
			const covered = [...steps].filter((one) => one.key === key);
			return () => {
				for (const one of covered) steps.delete(one);
				if (/journal\.\d+$/.test(path)) promised.set(path, stat.size);
			};
		},

		beforeRename(from, to) {
			const old = exists(to) && original.statSync(to).isFile() ? keep(root, to) : undefined;
			return () =>
				nameStep(to, () => {
					original.renameSync(to, from);
					if (old !== undefined) original.renameSync(old, to);
				});
		},

		beforeUnlink(path) {
			if (!exists(path)) return () => {};
			const old = keep(root, path);
			return () => nameStep(path, () => original.renameSync(old, path));
		},

		beforeMkdir(path) {
			// Whether the directory above is synced is not seen.
			if (resolve(path) === resolve(root)) return () => {};
			return () => nameStep(path, () => original.rmSync(path, { recursive: true }));
		},

		/** The power is gone. What was promised before is written to `<root>.promised`, as JSON: path → bytes. */
		forget() {
			original.writeFileSync(`${root}.promised`, JSON.stringify(Object.fromEntries(promised)));
			const names = [...steps].filter(({ kind }) => kind === "name");
			const lost = new Set(names.slice(Math.floor(random() * (names.length + 1))));
			for (const one of steps) if (one.kind === "data" && random() < 0.5) lost.add(one);
			for (const one of [...lost].toReversed()) {
				try {
					one.undo();
				} catch (error) {
					// What was removed together with its directory is gone already.
					if (error.code !== "ENOENT" && error.code !== "ENOTEMPTY") throw error;
				}
			}
		},
	};
}
