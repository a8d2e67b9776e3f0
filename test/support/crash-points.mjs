/**
 * Preload (`node --import …`) that ends its process with SIGKILL at an exact point of its work with files, and counts the points
 * that there are. The program knows nothing of it.
 *
 * `CRASH_POINTS` is JSON:
 * - `root`: only files below it count.
 * - `crash`: `{ point, nth, when, token }`: at the nth call (from 1) of this point, `before` it, `after` it, or in the `middle`: half of a
 *   write is in the file then; of anything else, nothing. Of all processes with the same `token`, a path, only the first one there dies.
 * - `power`: a seed. The machine loses its power with the process: what was not made durable is forgotten, more or less of it.
 * - `counts`: path of a file that gets how often each point was met, as JSON, when the process ends by itself.
 *
 * A point is `<operation> <path below root>` with `#` for numbers, so that it names the same place in every run.
 */
import fs, { closeSync, openSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { relative, resolve } from "node:path";
import { createPowerCut } from "./power-cut.mjs";

const { root, crash, power, counts } = JSON.parse(process.env.CRASH_POINTS ?? "{}");
const cut = power === undefined ? undefined : createPowerCut(root, xorshift(power));

/** @type {Map<string, number>} */
const met = new Map();

/** What the handles of this process were opened with. @type {WeakMap<object, string>} */
const paths = new WeakMap();

function die() {
	cut?.forget();
	process.kill(process.pid, "SIGKILL");
	// Other threads may run for a moment; this one does nothing more.
	for (;;);
}

function xorshift(seed) {
	let state = seed | 1;
	return () => {
		state ^= state << 13;
		state ^= state >>> 17;
		state ^= state << 5;
		return (state >>> 0) / 2 ** 32;
	};
}

/** What a path is called in a point; `undefined` outside of `root`. */
function nameOf(path) {
	const name = relative(root, resolve(String(path)));
	if (name.startsWith("..")) return undefined;
	return (
		name
			.replaceAll(/plan\.[0-9a-f]+/g, "plan.#")
			.replaceAll(/\.[0-9a-f]{12}\.tmp/g, ".tmp")
			.replaceAll(/\d[0-9a-f]*/g, "#") || "."
	);
}

/** Counts a call. Returns whether the process is to die before, in the middle of or after it; `undefined` for neither. */
function meet(operation, name) {
	const point = `${operation} ${name}`;
	const nth = (met.get(point) ?? 0) + 1;
	met.set(point, nth);
	return crash?.point === point && crash.nth === nth && isFirst() ? crash.when : undefined;
}

/** Whether no other process has died here. */
function isFirst() {
	try {
		closeSync(openSync(crash.token, "wx"));
		return true;
	} catch {
		return false;
	}
}

/**
 * Puts a wrapper in the place of `object[name]`.
 *
 * - `pathOf(self, …)`: what a call is about.
 * - `isPoint(…)`: whether a call is one to die at.
 * - `half(call, …)`: does half of it.
 * - `log(self, …)`: tells the power cut before a call, and returns what tells it that it succeeded.
 */
function wrap(object, name, { pathOf, isPoint = () => true, half, log, seen = () => {} }) {
	const original = object[name];
	object[name] = async function (...args) {
		const path = pathOf(this, ...args);
		const place = path === undefined ? undefined : nameOf(path);
		if (place === undefined) return await original.apply(this, args);
		const when = isPoint(...args) ? meet(name, place) : undefined;
		if (when === "before") die();
		const done = cut === undefined ? undefined : log?.(this, ...args);
		if (when === "middle") {
			await half?.(original.bind(this), ...args);
			if (half !== undefined) done?.();
			die();
		}
		const result = await original.apply(this, args);
		seen(result, ...args);
		done?.(result);
		if (when === "after") die();
		return result;
	};
}

const { O_CREAT, O_TRUNC } = fs.constants;

function isWriting(_path, flags = "r") {
	return typeof flags === "number" ? (flags & (O_CREAT | O_TRUNC)) > 0 : /^[wa]/.test(flags);
}

function isTruncating(flags) {
	return typeof flags === "number" ? (flags & O_TRUNC) > 0 : flags.startsWith("w");
}

function halfOf(data) {
	return data.slice(0, Math.ceil(data.length / 2));
}

function lengthOf(buffers) {
	return buffers.reduce((sum, { byteLength }) => sum + byteLength, 0);
}

const promises = fs.promises;
const probe = await promises.open("/dev/null");
const handles = Object.getPrototypeOf(probe);
await probe.close();

const ofPath = { pathOf: (_self, path) => path };
wrap(promises, "open", {
	...ofPath,
	isPoint: isWriting,
	seen: (handle, path) => paths.set(handle, String(path)),
	log: (_self, path, flags) =>
		isWriting(path, flags) ? cut.beforeOpen(path, isTruncating(flags)) : undefined,
});
wrap(promises, "mkdir", { ...ofPath, log: (_self, path) => cut.beforeMkdir(path) });
wrap(promises, "unlink", { ...ofPath, log: (_self, path) => cut.beforeUnlink(path) });
wrap(promises, "rename", {
	// What appears counts, not what it is made of.
	pathOf: (_self, _from, to) => to,
	log: (_self, from, to) => cut.beforeRename(from, to),
});
// What these do is done at once and for good.
for (const name of ["rmdir", "rm"]) wrap(promises, name, ofPath);

const ofHandle = { pathOf: (self) => paths.get(self) };
for (const name of ["sync", "datasync"]) {
	wrap(handles, name, { ...ofHandle, log: ({ fd }) => cut.beforeSync(fd) });
}
wrap(handles, "truncate", { ...ofHandle, log: ({ fd }) => cut.beforeTruncate(fd) });
for (const name of ["appendFile", "writeFile"]) {
	wrap(handles, name, {
		...ofHandle,
		half: (write, data) => write(halfOf(data)),
		log: ({ fd }, data) => cut.beforeWrite(fd, undefined, Buffer.byteLength(data)),
	});
}
wrap(handles, "write", {
	...ofHandle,
	half: (write, data, offset = 0, length, position) =>
		write(data, offset, Math.ceil((length ?? data.length - offset) / 2), position ?? null),
	log: ({ fd }, data, offset = 0, length, position) =>
		cut.beforeWrite(fd, position ?? undefined, length ?? data.length - offset),
});
wrap(handles, "writev", {
	...ofHandle,
	half: (write, buffers, position) => write(buffers.map(halfOf), position),
	log: ({ fd }, buffers, position) => cut.beforeWrite(fd, position, lengthOf(buffers)),
});

const { writevSync } = fs;
fs.writevSync = (descriptor, buffers, position) => {
	const place = nameOf(fs.readlinkSync(`/proc/self/fd/${descriptor}`));
	if (place === undefined) return writevSync(descriptor, buffers, position);
	const when = meet("writev", place);
	if (when === "before") die();
	const done = cut?.beforeWrite(descriptor, position, lengthOf(buffers));
	if (when === "middle") writevSync(descriptor, [halfOf(buffers[0])], position);
	const written = when === "middle" ? 0 : writevSync(descriptor, buffers, position);
	done?.();
	if (when === "middle" || when === "after") die();
	return written;
};

syncBuiltinESMExports();

if (counts !== undefined) {
	process.on("exit", () => fs.writeFileSync(counts, JSON.stringify(Object.fromEntries(met))));
}
