import { HfStreamDcpError, type ErrorFacts } from "../core/errors.ts";

/**
 * The error for a layout that torch or the trainer would refuse, or could not save and load.
 *
 * @param message - What is wrong, with the numbers.
 * @param hint - What to change.
 */
export function layoutInvalid(message: string, hint: string, facts: ErrorFacts): HfStreamDcpError {
	return new HfStreamDcpError("LAYOUT_INVALID", message, { hint, facts });
}
