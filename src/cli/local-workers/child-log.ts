/** What a worker's log says, line by line: see `docs/cli.md`, `--log-format json`. */
export type ChildLine =
	| { readonly kind: "progress"; readonly progress: ChildProgress }
	| {
			readonly kind: "retry";
			readonly what: string;
			readonly reason: string;
			readonly delayMs: number;
	  }
	| { readonly kind: "warning"; readonly message: string }
	| { readonly kind: "error"; readonly error: ChildError }
	/** Not ours: a message of Node itself, or of a library. */
	| { readonly kind: "text"; readonly text: string };

/** How far a worker is. Totals since its start; plan figures are of the shares that it has begun. */
export interface ChildProgress {
	readonly phase: string;
	readonly receivedBytes: number;
	readonly writtenBytes: number;
	readonly entriesDone: number;
	/** Of those, what earlier runs had finished. */
	readonly resumedEntries: number;
	/** Absent before the plan is made. */
	readonly fetchBytes?: number | undefined;
	readonly entries?: number | undefined;
}

/** The error that ended a worker, as its log has it. */
export interface ChildError {
	readonly code?: string | undefined;
	readonly message: string;
	readonly hint?: string | undefined;
	readonly exitCode: number;
}

/** Understands a line of a worker's log. */
export function readChildLine(line: string): ChildLine {
	const record = parseRecord(line);
	if (record === undefined) return { kind: "text", text: line };
	switch (record["kind"]) {
		case "progress":
			return { kind: "progress", progress: record as unknown as ChildProgress };
		case "retry":
		case "warning":
			return record as unknown as ChildLine;
		case "error":
			return { kind: "error", error: record as unknown as ChildError };
		default:
			return { kind: "text", text: line };
	}
}

function parseRecord(line: string): { readonly [key: string]: unknown } | undefined {
	if (!line.startsWith("{")) return undefined;
	try {
		return JSON.parse(line) as { readonly [key: string]: unknown };
	} catch {
		return undefined;
	}
}
