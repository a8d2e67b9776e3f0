import { HfStreamDcpError } from "../index.ts";

/**
 * `--limit`: how many of something are shown.
 *
 * @param text - Of the flag; `undefined` when it was not given.
 * @returns `Infinity` for 0.
 * @throws {HfStreamDcpError} `OPTIONS_INVALID`
 */
export function readLimit(text: unknown, byDefault: number): number {
	if (text === undefined) return byDefault;
	if (typeof text !== "string" || !/^\d+$/.test(text)) {
		throw new HfStreamDcpError(
			"OPTIONS_INVALID",
			`--limit: expected a whole number of at least 0, got ${JSON.stringify(text)}`,
		);
	}
	return Number(text) === 0 ? Infinity : Number(text);
}
