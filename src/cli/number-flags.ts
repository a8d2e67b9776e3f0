import { HfStreamDcpError } from "../index.ts";

/**
 * A number of seconds as a flag gives it.
 *
 * @returns Milliseconds; `undefined` when the flag was not given.
 * @throws {HfStreamDcpError} `OPTIONS_INVALID`
 */
export function readSeconds(flag: string, value: unknown): number | undefined {
	if (value === undefined) return undefined;
	if (typeof value === "string" && /^\s*\d+(?:\.\d+)?\s*$/.test(value)) return Number(value) * 1000;
	throw new HfStreamDcpError(
		"OPTIONS_INVALID",
		`${flag}: expected a number of seconds, got ${JSON.stringify(value)}`,
	);
}

/**
 * A number of at least one as a flag gives it; `undefined` when it was not given.
 *
 * @throws {HfStreamDcpError} `OPTIONS_INVALID`
 */
export function readCount(flag: string, value: unknown): number | undefined {
	if (value === undefined) return undefined;
	if (typeof value === "string" && /^\s*0*[1-9]\d{0,5}\s*$/.test(value)) return Number(value);
	throw new HfStreamDcpError(
		"OPTIONS_INVALID",
		`${flag}: expected a whole number of at least 1, got ${JSON.stringify(value)}`,
	);
}
