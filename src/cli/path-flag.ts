import { resolve } from "node:path";
import { HfStreamDcpError } from "../index.ts";
import { expandHome } from "./expand-home.ts";
import type { Environment } from "./io.ts";

/**
 * The absolute path that a flag gives; `undefined` when it was not given.
 *
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` for an empty one.
 */
export function pathFlag(flag: string, value: unknown, env: Environment): string | undefined {
	if (value === undefined) return undefined;
	if (typeof value === "string" && value !== "") return resolve(expandHome(value, env));
	throw new HfStreamDcpError("OPTIONS_INVALID", `${flag}: expected the path of a file`);
}
