import { HfStreamDcpError } from "../core/errors.ts";

const LONGEST_QUOTE = 120;

/** A `CHECKPOINT_CORRUPT` error. The message says what in which file is not as it must be. */
export function corrupt(message: string, cause?: unknown): HfStreamDcpError {
	return new HfStreamDcpError("CHECKPOINT_CORRUPT", message, {
		hint: "The file is damaged or was not written by PyTorch DCP. Copy or write the checkpoint again.",
		cause,
	});
}

/** A name from a file, made safe for a message: bounded, control characters escaped. */
export function quote(name: string): string {
	const short = name.length > LONGEST_QUOTE ? `${name.slice(0, LONGEST_QUOTE)}…` : name;
	return JSON.stringify(short);
}
