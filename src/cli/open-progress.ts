import type { ConvertOptions } from "../index.ts";
import { type FlagValues } from "./flags.ts";
import { readSeconds } from "./number-flags.ts";
import type { CliIo } from "./io.ts";
import { createProgress, type LogFormat, type Progress } from "./progress.ts";

/**
 * The progress display that the flags ask for.
 *
 * @param worker - Who speaks, where several write to one log.
 * @throws {HfStreamDcpError} `OPTIONS_INVALID`
 */
export function openProgress(
	io: CliIo,
	values: FlagValues,
	worker?: ConvertOptions["worker"],
): Progress {
	return createProgress(io, {
		format: values["logFormat"] as LogFormat,
		quiet: values["quiet"] === true,
		intervalMs: readSeconds("--log-interval", values["logInterval"]),
		worker,
	});
}
