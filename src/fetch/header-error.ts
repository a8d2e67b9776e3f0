import { type ErrorFacts, HfStreamDcpError } from "../core/errors.ts";
import { quote } from "./strict-json.ts";

/** The file a header belongs to. */
export interface HeaderContext {
	/** Path of the file, for messages and for the tensors. */
	readonly file: string;
	/** Size of the whole file. */
	readonly fileBytes: number;
}

/** How messages call a member of a header. */
export function memberName(name: string): string {
	return name === "__metadata__" ? "__metadata__" : `tensor ${quote(name)}`;
}

/** An error about the header as a whole. */
export function invalidHeader(
	{ file }: HeaderContext,
	problem: string,
	hint: string = DEFAULT_HINT,
): HfStreamDcpError {
	return make(file, problem, hint, { file });
}

/** An error about one member of the header: a tensor or `__metadata__`. */
export function invalidMember(
	{ file }: HeaderContext,
	name: string,
	problem: string,
): HfStreamDcpError {
	return make(file, `${memberName(name)}: ${problem}`, DEFAULT_HINT, { file, tensor: name });
}

const DEFAULT_HINT =
	"The file is damaged or was written by a faulty program; get it again or save the model again.";

function make(file: string, problem: string, hint: string, facts: ErrorFacts): HfStreamDcpError {
	const message = `${file} is not a valid safetensors file: ${problem}`;
	return new HfStreamDcpError("HEADER_INVALID", message, { hint, facts });
}
