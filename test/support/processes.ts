import { readdirSync, readFileSync } from "node:fs";

/** A running process. */
export interface RunningProcess {
	readonly pid: number;
	readonly commandLine: readonly string[];
	readonly environment: { readonly [name: string]: string };
}

/** The processes of this host that may be looked at, as they are now. */
export function runningProcesses(): readonly RunningProcess[] {
	return readdirSync("/proc")
		.filter((name) => /^\d+$/.test(name))
		.flatMap((name) => {
			try {
				const read = (file: string): readonly string[] =>
					readFileSync(`/proc/${name}/${file}`, "utf8").split("\0").slice(0, -1);
				const environment = Object.fromEntries(
					read("environ").map((line) => {
						const at = line.indexOf("=");
						return [line.slice(0, at), line.slice(at + 1)] as const;
					}),
				);
				return [{ pid: Number(name), commandLine: read("cmdline"), environment }];
			} catch {
				// It has ended, or is another user's.
				return [];
			}
		});
}
