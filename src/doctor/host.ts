import { accessSync, constants, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

/** A machine as the checks see it: files below a root, and the environment. Tests give it a directory tree. */
export interface Host {
	readonly platform: NodeJS.Platform;
	/** As in `process.arch`. */
	readonly arch: string;
	readonly env: { readonly [name: string]: string | undefined };
	/** Text of a file; `undefined` when it cannot be read. */
	readText(path: string): string | undefined;
	/** Names in a directory, sorted; none when it cannot be read. */
	list(path: string): readonly string[];
	/** Whether there is a file or directory. */
	has(path: string): boolean;
	isDirectory(path: string): boolean;
	/** Whether this process may read and write it. */
	isAccessible(path: string): boolean;
}

/** What a {@link Host} is made of. */
export interface HostOptions {
	/** Put before every path. @default nothing */
	readonly root?: string | undefined;
	readonly env: Host["env"];
	/** @default process.platform */
	readonly platform?: NodeJS.Platform | undefined;
	/** @default process.arch */
	readonly arch?: string | undefined;
}

/** The machine whose files lie below `root`. */
export function createHost(options: HostOptions): Host {
	const { root = "", env, platform = process.platform, arch = process.arch } = options;
	const at = (path: string): string => (root === "" ? path : join(root, path));
	return {
		platform,
		arch,
		env,
		readText: (path) => orElse(() => readFileSync(at(path), "utf8"), undefined),
		list: (path) => orElse(() => readdirSync(at(path)).toSorted(), []),
		has: (path) => orElse(() => statSync(at(path)) !== undefined, false),
		isDirectory: (path) => orElse(() => statSync(at(path)).isDirectory(), false),
		isAccessible: (path) =>
			orElse(() => {
				accessSync(at(path), constants.R_OK | constants.W_OK);
				return true;
			}, false),
	};
}

/** A variable of the environment; one that is set to nothing counts as not set. */
export function variableOf(host: Host, name: string): string | undefined {
	const value = host.env[name];
	return value === "" ? undefined : value;
}

function orElse<T>(read: () => T, otherwise: T): T {
	try {
		return read();
	} catch {
		// Not there, or not for this process: the checks say what that means.
		return otherwise;
	}
}
