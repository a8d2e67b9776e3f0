import { inspect } from "node:util";
import {
	type ErrorCode,
	type ErrorFacts,
	HfStreamDcpError,
	isHfStreamDcpError,
} from "../core/errors.ts";

/** An error as plain data: another thread shows the same message, hint and causes, and exits with the same code. */
export interface ErrorRecord {
	readonly name: string;
	readonly message: string;
	readonly stack: string | undefined;
	readonly cause: ErrorRecord | undefined;
	/** Of one of our own errors. */
	readonly ours:
		| {
				readonly code: ErrorCode;
				readonly hint: string | undefined;
				readonly retryable: boolean;
				readonly facts: ErrorFacts;
		  }
		| undefined;
}

/** Longest chain of causes that is kept; a chain may be circular. */
const MAX_CAUSES = 8;

/** Writes an error down. Facts that are no plain data become text. */
export function recordOf(thrown: unknown, depth: number = MAX_CAUSES): ErrorRecord {
	if (!(thrown instanceof Error)) {
		const message = typeof thrown === "string" ? thrown : inspect(thrown);
		return { name: "Error", message, stack: undefined, cause: undefined, ours: undefined };
	}
	const { name, message, stack, cause } = thrown;
	return {
		name,
		message,
		stack,
		cause: cause === undefined || depth === 0 ? undefined : recordOf(cause, depth - 1),
		ours: isHfStreamDcpError(thrown) ? oursOf(thrown) : undefined,
	};
}

function oursOf({ code, hint, retryable, facts }: HfStreamDcpError): ErrorRecord["ours"] {
	const plain = Object.entries(facts).map(([name, value]) => [name, plainOf(value)]);
	return { code, hint, retryable, facts: Object.fromEntries(plain) as ErrorFacts };
}

function plainOf(value: unknown): unknown {
	try {
		return structuredClone(value);
	} catch {
		return inspect(value);
	}
}

/** The error that was written down. */
export function errorOf({ name, message, stack, cause, ours }: ErrorRecord): Error {
	const details = { cause: cause === undefined ? undefined : errorOf(cause) };
	if (ours !== undefined) return new HfStreamDcpError(ours.code, message, { ...ours, ...details });
	const error = new Error(message, details.cause === undefined ? {} : details);
	error.name = name;
	// Where it was thrown, not where it was rebuilt.
	if (stack !== undefined) error.stack = stack;
	return error;
}
