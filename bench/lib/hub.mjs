// A Hub in a process of its own, so that neither its time nor its memory is counted.
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("./hub-process.mjs", import.meta.url));

/**
 * A running Hub.
 *
 * @typedef {object} BenchHub
 * @property {string} endpoint for `HF_ENDPOINT`
 * @property {() => Promise<import("../../src/demo/local-hub.ts").RequestRecord[]>} requests since the start or the last `reset`
 * @property {() => Promise<void>} reset forgets the requests so far
 * @property {() => Promise<void>} stop ends the process
 */

/**
 * Starts a local Hub (the API, small files, redirects). Files that the Hub keeps in large-file storage (`*.safetensors`, …) are
 * redirected to `{cdn}/{cdnFolder}/{path}?Expires=…`, where `startNginx` serves them.
 *
 * @param {object} options
 * @param {readonly { id: string, directory: string, cdnFolder: string }[]} options.repos `cdnFolder`: path of `directory` below the
 * directory that the CDN serves
 * @param {string} options.cdn origin of the CDN
 * @param {{ certFile: string, keyFile: string }} [options.tls] puts TLS in front of the Hub itself. Default: plain HTTP.
 * @returns {Promise<BenchHub>}
 */
export async function startHub(options) {
	const child = fork(program, [JSON.stringify(options)], {
		stdio: ["ignore", "inherit", "inherit", "ipc"],
	});
	const closed = once(child, "exit");
	const answer = async () => {
		const first = await Promise.race([once(child, "message"), closed.then(() => undefined)]);
		if (first === undefined) throw new Error("the local Hub ended early");
		return first[0];
	};
	const ask = (question) => {
		const answered = answer();
		child.send(question);
		return answered;
	};
	const { endpoint } = await answer();
	return {
		endpoint,
		requests: () => ask("requests"),
		reset: async () => {
			await ask("reset");
		},
		stop: async () => {
			child.disconnect();
			await closed;
		},
	};
}
