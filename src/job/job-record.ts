import { join } from "node:path";
import { HfStreamDcpError } from "../core/errors.ts";
import type { CommandFacts } from "../core/job-summary.ts";
import { formatLine, parseLine } from "../files/checked-line.ts";
import { publishFolder } from "../files/publish-folder.ts";
import { readTextIfThere } from "../files/read-file.ts";

/** What the workers of a job agree on before anything else: the first of them writes it down. */
export interface JobRecord {
	/** What the command asks for; a worker that asks for something else is not of this job. */
	readonly command: CommandFacts;
	/** Into how many shares the plan is cut. */
	readonly shares: number;
	/** Whether something else lay in the directory and is to be removed. */
	readonly clear: boolean;
	/** Version of the program that began the job. */
	readonly tool: string;
	/** When it began, Unix time in milliseconds of the clock of whoever did. */
	readonly begunAt: number;
}

const FORMAT = "hf-stream-dcp job 1";
const RECORD_NAME = "record";

/**
 * Begins a job: its directory appears at `path` with its record in it, all at once.
 *
 * @returns Whether this process did; otherwise another one was faster.
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export function publishRecord(path: string, record: JobRecord): Promise<boolean> {
	const text = formatLine(JSON.stringify({ format: FORMAT, ...record }));
	return publishFolder(path, RECORD_NAME, Buffer.from(text));
}

/**
 * Reads the record of the job at `path`; `undefined` when there is no job.
 *
 * @throws {HfStreamDcpError} `OUTPUT_EXISTS` when it cannot be understood; `OUTPUT_WRITE`
 */
export async function readRecord(path: string): Promise<JobRecord | undefined> {
	const name = join(path, RECORD_NAME);
	const text = await readTextIfThere(name);
	if (text === undefined) return undefined;
	const rest = parseLine(text.trimEnd());
	const record =
		rest === undefined ? undefined : (JSON.parse(rest) as JobRecord & { format: string });
	if (record?.format === FORMAT) return record;
	throw new HfStreamDcpError("OUTPUT_EXISTS", `${name} cannot be read`, {
		hint: "It is damaged, or of another version of this program: remove the directory it is in, or choose another.",
		facts: { path: name },
	});
}

/** What two commands ask for differently, one line each: `mesh: dp-shard 8, now dp-shard 4`. */
export function differencesOf(before: CommandFacts, now: CommandFacts): readonly string[] {
	const names = new Set([...Object.keys(before), ...Object.keys(now)]);
	return [...names]
		.filter((name) => before[name] !== now[name])
		.map((name) => `${name}: ${before[name] ?? "not given"}, now ${now[name] ?? "not given"}`);
}
