// Processes and what they use.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { onExit } from "./cleanup.mjs";

const measure = join(dirname(fileURLToPath(import.meta.url)), "measure.py");
let reports = 0;

/**
 * What one process tree used, from its start to its end.
 *
 * @typedef {object} Usage
 * @property {string} stdout all of it
 * @property {string} stderr The last 64 KiB.
 * @property {number} wallSeconds from the start of the command to its end
 * @property {number} userSeconds of the whole tree, as are the next two
 * @property {number} systemSeconds see `userSeconds`
 * @property {number} cpuSeconds user and system
 * @property {number} peakProcessRssBytes the largest process of the tree
 * @property {number} blockBytesRead from a disk, as the kernel charges the processes (0 on tmpfs)
 * @property {number} blockBytesWritten see `blockBytesRead`
 * @property {boolean} isComplete whether every process of the tree had ended
 * @property {number} [treePeakRssBytes] most of the sampled sums; shared pages count once per process. With `sampleMs`.
 * @property {number} [treePeakPrivateBytes] the same without file pages: what the tree really takes. With `sampleMs`.
 * @property {number} [peakProcesses] With `sampleMs`.
 */

/**
 * Runs a command to its end. The environment is only what `env` says, and `PATH` and `HOME`.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {object} [options]
 * @param {Record<string, string | undefined>} [options.env]
 * @param {string} [options.cwd]
 * @param {number} [options.sampleMs] samples the memory of the tree this often; 0 does not. Default 0.
 * @param {number} [options.timeoutMs] ends the command with SIGTERM, then SIGKILL. Default 10 minutes.
 * @returns {Promise<Usage>}
 * @throws {Error} with the end of stderr when the command fails or runs too long
 */
export async function runMeasured(command, args, options = {}) {
	const { env = {}, cwd, sampleMs = 0, timeoutMs = 600_000 } = options;
	const report = join(tmpdir(), `hf-stream-dcp-usage-${process.pid}-${reports++}.json`);
	const child = spawn(
		"python3",
		["-S", "-E", measure, report, String(sampleMs), command, ...args],
		{ cwd, stdio: ["ignore", "pipe", "pipe"], env: { ...baseEnvironment(), ...env } },
	);
	const stdout = collect(child.stdout, Number.POSITIVE_INFINITY);
	const stderr = collect(child.stderr, 65_536);
	const timer = setTimeout(() => child.kill("SIGTERM"), timeoutMs);
	const forget = onExit(() => child.kill("SIGTERM"));
	try {
		const [code, signal] = await once(child, "close");
		if (code !== 0) {
			const line = [command, ...args].join(" ");
			throw new Error(`${line} ended with ${code ?? signal}: ${stderr().trimEnd()}`);
		}
		const { code: _, ...usage } = JSON.parse(await readFile(report, "utf8"));
		return { stdout: stdout(), stderr: stderr(), ...usage };
	} finally {
		clearTimeout(timer);
		forget();
		await rm(report, { force: true });
	}
}

/** What every measured command sees of this process's environment. */
function baseEnvironment() {
	return { PATH: process.env["PATH"], HOME: process.env["HOME"], LC_ALL: "C" };
}

/** @returns {() => string} the text so far */
function collect(stream, limit) {
	let text = "";
	stream.setEncoding("utf8");
	stream.on("data", (piece) => {
		text = (text + piece).slice(-limit);
	});
	return () => text;
}

/**
 * A child that is asked for one measurement at a time, so that those of several children interleave.
 *
 * @typedef {object} Meter
 * @property {(request: unknown) => Promise<any>} ask sends one JSON line, resolves with the JSON line that answers it
 * @property {() => Promise<void>} stop closes stdin and waits for the end
 */

/**
 * Starts a child that reads JSON lines from stdin and answers each with one on stdout: `{ "error": text }` when it cannot.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {Record<string, string | undefined>} [env] as in {@link runMeasured}
 * @returns {Meter}
 */
export function startMeter(command, args, env = {}) {
	const child = spawn(command, args, {
		stdio: ["pipe", "pipe", "inherit"],
		env: { ...baseEnvironment(), ...env },
	});
	const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
	const closed = once(child, "close");
	closed.catch(() => {});
	return {
		ask: async (request) => {
			child.stdin.write(`${JSON.stringify(request)}\n`);
			const { done, value } = await answers.next();
			if (done) throw new Error(`${command} ${args.join(" ")} ended early`);
			const answer = JSON.parse(value);
			if (answer.error !== undefined) throw new Error(`${command}: ${answer.error}`);
			return answer;
		},
		stop: async () => {
			child.stdin.end();
			await closed;
		},
	};
}
