import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { LOCAL_WORKERS_VARIABLE } from "../index.ts";
import type { ChildListener, ChildProgram, ChildResult, Environment, StopSignal } from "./io.ts";

/** Whether another process of this program started this one: it left a channel, through which it is known when that one ends. */
export function isLocalWorker(): boolean {
	return process.channel !== undefined && process.env[LOCAL_WORKERS_VARIABLE] !== undefined;
}

/**
 * Calls `listener` for every SIGINT and SIGTERM, and as if for SIGTERM when the process that started this worker is gone.
 *
 * @returns Ends it.
 */
export function watchSignals(listener: (signal: StopSignal) => void): () => void {
	const onInt = (): void => listener("SIGINT");
	const onTerm = (): void => listener("SIGTERM");
	process.on("SIGINT", onInt);
	process.on("SIGTERM", onTerm);
	if (isLocalWorker()) {
		process.on("disconnect", onTerm);
		// A listener would keep the process alive as long as the other one lives.
		process.channel?.unref();
	}
	return () => {
		process.off("SIGINT", onInt);
		process.off("SIGTERM", onTerm);
		process.off("disconnect", onTerm);
	};
}

/** Starts this program once more. Its stderr is told line by line, its stdout when it has ended. */
export function startChild(
	args: readonly string[],
	env: Environment,
	listener: ChildListener,
): ChildProgram {
	const [, program = ""] = process.argv;
	const child = spawn(process.execPath, [...process.execArgv, program, ...args], {
		env,
		// The channel carries no messages: it tells the child when this process is gone.
		stdio: ["ignore", "pipe", "pipe", "ipc"],
	});
	let stdout = "";
	child.stdout?.setEncoding("utf8").on("data", (text: string) => (stdout += text));
	if (child.stderr !== null) createInterface(child.stderr).on("line", listener.onLine);
	const ended = new Promise<ChildResult>((resolve, reject) => {
		child.on("error", reject);
		child.on("close", (code, signal) => {
			resolve({ code: code ?? undefined, killedBy: signal ?? undefined, stdout });
		});
	});
	return { ended, kill: (signal) => void child.kill(signal) };
}
