import { inspect } from "node:util";
import { CommanderError } from "commander";
import { EXIT_CODES, HfStreamDcpError, isHfStreamDcpError, type OptionIssue } from "../index.ts";
import { flagOfOption } from "./flags.ts";
import { InterruptedError } from "./interrupt.ts";
import type { LogFormat } from "./progress.ts";

/** What the shell sees for a mistake in the command itself. */
const EXIT_USAGE = 2;

/** What the shell sees for a bug of this program. */
const EXIT_BUG = 1;

/** An error as the shell and the person see it. */
export interface RenderedError {
	/** For stderr; ends with a line break, or is empty. */
	readonly text: string;
	readonly exitCode: number;
}

/** Longest chain of causes that is printed; a chain may be circular. */
const MAX_CAUSES = 8;

function messageOf(thrown: unknown): string {
	if (thrown instanceof Error) return thrown.message;
	return typeof thrown === "string" ? thrown : inspect(thrown);
}

function causesOf(error: Error): string[] {
	const lines: string[] = [];
	let cause: unknown = error.cause;
	while (cause !== undefined && cause !== null && lines.length < MAX_CAUSES) {
		lines.push(messageOf(cause));
		cause = cause instanceof Error ? cause.cause : undefined;
	}
	return lines;
}

function flagIssues(error: HfStreamDcpError): string | undefined {
	const issues = error.facts["issues"];
	if (error.code !== "OPTIONS_INVALID" || !Array.isArray(issues)) return undefined;
	const lines = (issues as readonly OptionIssue[]).map(
		({ path, message }) => `${flagOfOption(path)}: ${message}`,
	);
	return lines.join("\n");
}

function renderOurs(error: HfStreamDcpError): string {
	const lines = [`error: ${flagIssues(error) ?? error.message}`];
	for (const cause of causesOf(error)) lines.push(`  caused by: ${cause}`);
	if (error.hint !== undefined) lines.push(`hint: ${error.hint}`);
	return `${lines.join("\n")}\n`;
}

function renderJson(error: unknown, exitCode: number): string {
	if (!(error instanceof Error))
		return `${JSON.stringify({ kind: "error", message: messageOf(error), exitCode })}\n`;
	const isOurs = isHfStreamDcpError(error);
	const { code, hint } = isOurs ? error : { code: undefined, hint: undefined };
	const message = (isOurs ? flagIssues(error) : undefined) ?? error.message;
	const causes = causesOf(error);
	const stack = isOurs ? undefined : error.stack;
	return `${JSON.stringify({ kind: "error", code, message, hint, causes, exitCode, stack })}\n`;
}

/** Commander writes text itself, also the help that was asked for; JSON it leaves to us. */
function renderUsage(error: CommanderError, format: LogFormat): RenderedError {
	if (error.exitCode === 0) return { text: "", exitCode: 0 };
	if (format === "text") return { text: "", exitCode: EXIT_USAGE };
	const message = error.message.replace(/^error: /, "");
	const usage = new HfStreamDcpError("OPTIONS_INVALID", message, { hint: "Try --help." });
	return { text: renderJson(usage, EXIT_USAGE), exitCode: EXIT_USAGE };
}

/** Message, causes and hint for what a user can mend, without a stack trace; the stack for a bug of ours. */
export function renderError(error: unknown, format: LogFormat): RenderedError {
	if (error instanceof InterruptedError) return { text: "", exitCode: error.exitCode };
	if (error instanceof CommanderError) return renderUsage(error, format);
	const isOurs = isHfStreamDcpError(error);
	const exitCode = isOurs ? EXIT_CODES[error.code] : EXIT_BUG;
	if (format === "json") return { text: renderJson(error, exitCode), exitCode };
	if (isOurs) return { text: renderOurs(error), exitCode };
	const stack = error instanceof Error ? (error.stack ?? error.message) : messageOf(error);
	return { text: `internal error; please report this:\n${stack}\n`, exitCode };
}
