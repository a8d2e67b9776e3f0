import { access, constants, statfs } from "node:fs/promises";
import { CHECKSUMS } from "../checksum/crc32.ts";
import { isHfStreamDcpError } from "../core/errors.ts";
import { probeWriteMode } from "../dcp/write-mode.ts";
import { readEnvironment } from "../fetch/environment.ts";
import { chooseThreads } from "../threads/choose-threads.ts";
import { readMachine } from "../threads/machine.ts";
import type { DirectoryFacts, HubFacts, MachineFacts } from "./diagnosis.ts";
import { glibcVersion } from "./gpu-package.ts";

/** Defaults of a conversion, which decide how many threads it has. */
export interface ThreadDefaults {
	/** Memory of one thread, bytes. */
	readonly memoryBytes: number;
	readonly connections: number;
}

/** Looks at what a conversion would find: this process, the directory at `path`, the variables of the Hub. */
export async function examineMachine(
	env: NodeJS.ProcessEnv,
	path: string,
	{ memoryBytes, connections }: ThreadDefaults,
): Promise<MachineFacts> {
	const machine = readMachine();
	const { count } = chooseThreads({
		threads: "auto",
		machine,
		// Any number of threads has enough to fetch.
		fetchBytes: Infinity,
		budgetBytes: memoryBytes,
		connections,
		isRemote: true,
	});
	return {
		node: process.versions.node,
		platform: process.platform,
		arch: process.arch,
		glibc: process.platform === "linux" ? glibcVersion() : undefined,
		cores: machine.cores,
		memoryBytes: machine.memoryBytes,
		threads: count,
		threadMemoryBytes: memoryBytes,
		checksums: CHECKSUMS,
		directory: await examineDirectory(path),
		hub: examineHub(env),
	};
}

async function examineDirectory(path: string): Promise<DirectoryFacts> {
	try {
		const { bavail, bsize } = await statfs(path);
		const isWritable = await access(path, constants.W_OK).then(
			() => true,
			() => false,
		);
		const writeMode = await probeWriteMode(path);
		return { path, isWritable, writeMode, freeBytes: bavail * bsize };
	} catch {
		// Not there.
		return { path, isWritable: undefined, writeMode: undefined, freeBytes: undefined };
	}
}

function examineHub(env: NodeJS.ProcessEnv): HubFacts {
	try {
		const { token, endpoint, offline } = readEnvironment(env);
		return { hasToken: token !== undefined, endpoint, offline, problem: undefined };
	} catch (error) {
		if (!isHfStreamDcpError(error)) throw error;
		return { hasToken: false, endpoint: undefined, offline: false, problem: error.message };
	}
}
