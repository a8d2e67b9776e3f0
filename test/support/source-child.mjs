// A worker of a job, as far as its source goes: opens it with the built program, then reads files of it as it is told on stdin.
import { createHash } from "node:crypto";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { openJobSource } from "../../dist/src/job/source-store.js";

const { pauseMs = 0, ...options } = JSON.parse(process.argv[2]);
const tell = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
const fail = (error) => {
	tell({ kind: "failed", code: error.code, message: error.message, hint: error.hint });
	process.exitCode = 1;
	process.stdin.destroy();
};

let opened;
const commands = {
	async open() {
		const onEvent = (event) => {
			if (event.kind === "waiting") tell(event);
		};
		opened = await openJobSource({ ...options, onEvent });
		const { source, origin, kind } = opened;
		const digest = createHash("sha256").update(JSON.stringify(source)).digest("hex");
		tell({ kind: "opened", origin, from: kind, commit: source.commit, digest });
	},
	/** Reads whole files, one after the other. */
	async read(...paths) {
		const sums = {};
		for (const path of paths) {
			const { bytes: end } = opened.source.files.find((file) => file.path === path);
			const into = new Uint8Array(end);
			await opened.bytes.readInto({ file: path, start: 0, end }, into);
			sums[path] = createHash("sha256").update(into).digest("hex");
			await pause(pauseMs);
		}
		tell({ kind: "read", sums });
	},
	async end() {
		await opened[Symbol.asyncDispose]();
		process.stdin.destroy();
	},
};

tell({ kind: "ready" });
for await (const line of createInterface({ input: process.stdin })) {
	const [name, ...args] = line.split(" ");
	try {
		await commands[name](...args);
	} catch (error) {
		fail(error);
	}
}
