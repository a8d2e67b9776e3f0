/** Stable codes, one per kind of failure. Documented in `docs/errors.md`. */
export type ErrorCode =
	| "OPTIONS_INVALID"
	| "HUB_UNAUTHORIZED"
	| "HUB_GATED"
	| "HUB_NOT_FOUND"
	| "HUB_RATE_LIMITED"
	| "HTTP_STATUS"
	| "NETWORK_FAILED"
	| "RANGE_IGNORED"
	| "RANGE_MISMATCH"
	| "SOURCE_CHANGED"
	| "SOURCE_UNREADABLE"
	| "OFFLINE"
	| "HEADER_INVALID"
	| "INDEX_INVALID"
	| "DTYPE_UNSUPPORTED"
	| "CONFIG_INVALID"
	| "FAMILY_UNKNOWN"
	| "FAMILY_INVALID"
	| "NAMES_UNRESOLVED"
	| "RECIPE_INVALID"
	| "LAYOUT_INVALID"
	| "BUDGET_EXCEEDED"
	| "OUTPUT_EXISTS"
	| "OUTPUT_WRITE"
	| "PLAN_CHANGED"
	| "CHECKPOINT_CORRUPT"
	| "CHECKPOINT_UNFIT"
	| "SHARE_TAKEN_OVER"
	| "WORKER_FAILED"
	| "DEVICE_UNAVAILABLE";

/** What the shell sees: 1 a bug or a crash of this program, 2 usage, 3 source or network, 4 plan, 5 output, 6 verification, 7 no GPU. */
export const EXIT_CODES: { readonly [C in ErrorCode]: number } = {
	OPTIONS_INVALID: 2,
	HUB_UNAUTHORIZED: 3,
	HUB_GATED: 3,
	HUB_NOT_FOUND: 3,
	HUB_RATE_LIMITED: 3,
	HTTP_STATUS: 3,
	NETWORK_FAILED: 3,
	RANGE_IGNORED: 3,
	RANGE_MISMATCH: 3,
	SOURCE_CHANGED: 3,
	SOURCE_UNREADABLE: 3,
	OFFLINE: 3,
	HEADER_INVALID: 3,
	INDEX_INVALID: 3,
	DTYPE_UNSUPPORTED: 4,
	CONFIG_INVALID: 4,
	FAMILY_UNKNOWN: 4,
	FAMILY_INVALID: 4,
	NAMES_UNRESOLVED: 4,
	RECIPE_INVALID: 4,
	LAYOUT_INVALID: 4,
	BUDGET_EXCEEDED: 4,
	OUTPUT_EXISTS: 5,
	OUTPUT_WRITE: 5,
	PLAN_CHANGED: 5,
	CHECKPOINT_CORRUPT: 6,
	CHECKPOINT_UNFIT: 6,
	SHARE_TAKEN_OVER: 5,
	WORKER_FAILED: 1,
	DEVICE_UNAVAILABLE: 7,
};

/** Facts of a failure, for programs: URLs, ranges, names, counts. */
export type ErrorFacts = { readonly [name: string]: unknown };

/** Everything but the message that an error carries. */
export interface ErrorDetails {
	/** What to do next, one sentence. */
	readonly hint?: string | undefined;
	/** Whether the same call may succeed when it is made again. @default false */
	readonly retryable?: boolean | undefined;
	readonly facts?: ErrorFacts | undefined;
	readonly cause?: unknown;
}

/** Every failure this package reports on purpose. `code` is stable; the message is for people and may change. */
export class HfStreamDcpError extends Error {
	readonly code: ErrorCode;
	readonly hint: string | undefined;
	readonly retryable: boolean;
	readonly facts: ErrorFacts;

	constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
		super(message, details.cause === undefined ? {} : { cause: details.cause });
		this.name = "HfStreamDcpError";
		this.code = code;
		this.hint = details.hint;
		this.retryable = details.retryable ?? false;
		this.facts = details.facts ?? {};
	}
}

/** Whether `error` is one of ours and, when codes are given, has one of them. */
export function isHfStreamDcpError(
	error: unknown,
	...codes: readonly ErrorCode[]
): error is HfStreamDcpError {
	// By name and code instead of `instanceof`, so that two copies of this package understand each other.
	if (!(error instanceof Error) || error.name !== "HfStreamDcpError" || !("code" in error)) {
		return false;
	}
	const code = error.code as ErrorCode;
	return code in EXIT_CODES && (codes.length === 0 || codes.includes(code));
}

/**
 * Marks a state that only a bug in this program can reach.
 *
 * @throws {Error} when `condition` is false.
 */
export function invariant(condition: boolean, message: string): asserts condition {
	if (!condition) throw new Error(`internal error: ${message}`);
}

/** For the `default` of a switch over a union: the compiler proves that it is never reached. */
export function assertNever(value: never): never {
	throw new Error(`internal error: unexpected ${JSON.stringify(value)}`);
}
