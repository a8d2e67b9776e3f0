import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

/** Names a process so that other processes of its machine can tell whether it still runs. */
export interface ProcessIdentity {
	/** Host, boot and process namespace: where a pid means something. */
	readonly machine: string;
	/** For people. */
	readonly host: string;
	readonly pid: number;
	/** When it began, clock ticks since boot; tells it from a later process of the same pid. Empty where the system does not say. */
	readonly started: string;
}

let self: ProcessIdentity | undefined;

/** This process. */
export function thisProcess(): ProcessIdentity {
	self ??= identify();
	return self;
}

function identify(): ProcessIdentity {
	const host = hostname();
	// Not Linux: a machine is its name, and a process its pid.
	const boot = quietly(() => readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim());
	const namespace = quietly(() => readlinkSync("/proc/self/ns/pid"));
	const { pid } = process;
	return {
		machine: `${host} ${boot} ${namespace}`,
		host,
		pid,
		started: statOf(pid)?.started ?? "",
	};
}

/** Whether a process is known not to run any more; `false` for one of another machine, of which nothing is known. */
export function isGone(other: ProcessIdentity): boolean {
	if (other.machine !== thisProcess().machine) return false;
	if (other.started === "") return !answers(other.pid);
	const stat = statOf(other.pid);
	return stat === undefined || stat.started !== other.started || /[ZX]/.test(stat.state);
}

/**
 * State and start of a process; `undefined` when there is none.
 *
 * @see proc_pid_stat(5): fields 3 and 22, behind a name in parentheses that may hold anything
 */
function statOf(pid: number): { readonly state: string; readonly started: string } | undefined {
	const text = quietly(() => readFileSync(`/proc/${pid}/stat`, "latin1"));
	if (text === "") return undefined;
	const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
	return { state: fields[0] ?? "", started: fields[19] ?? "" };
}

function answers(pid: number): boolean {
	try {
		process.kill(pid, 0);
		return true;
	} catch (error) {
		return (error as NodeJS.ErrnoException).code === "EPERM";
	}
}

function quietly(read: () => string): string {
	try {
		return read();
	} catch {
		return "";
	}
}
