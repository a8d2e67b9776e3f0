import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";

/** What is heard of a child. */
export interface ChildListener<Message> {
	readonly onMessage: (message: Message) => void;
	/**
	 * The last call: it has ended, or it was killed and stays in the kernel, where it runs no code of its own any more. Everything it
	 * said was heard.
	 *
	 * @param how - For people: `it was ended by SIGSEGV`, and what it printed last.
	 */
	readonly onEnd: (how: string) => void;
}

/** A process of our own that may crash or hang. */
export interface Child {
	readonly pid: number | undefined;
	tell(message: object): void;
	/** Ends it at once. */
	kill(): void;
}

/** How long a process may be in the kernel after SIGKILL before nobody waits for it any more. */
const MAX_DYING_MS = 5000;

/** What is kept of what it prints: the end, where the reason of a crash is. */
const TAIL_LENGTH = 600;

/**
 * Starts a program as a process that ends with this one, and gives it its first message. Nothing it prints is shown.
 *
 * @param silenceMs - It is killed when it says nothing for so long.
 */
export function startChild<Message>(
	program: URL,
	first: object,
	silenceMs: number,
	listener: ChildListener<Message>,
): Child {
	const child = fork(fileURLToPath(program), [], {
		serialization: "advanced",
		stdio: ["ignore", "pipe", "pipe", "ipc"],
	});
	const tail = tailOf(child);
	const tell = (message: object): void => void child.send(message, () => {});
	let reason: string | undefined;
	const end = once((how: string) => {
		clearTimeout(silence);
		const printed = tail().trim();
		listener.onEnd(`${reason ?? how}${printed === "" ? "" : `; it printed: ${printed}`}`);
	});
	const kill = (why?: string): void => {
		reason ??= why;
		child.kill("SIGKILL");
		setTimeout(() => end("it was killed and does not end"), MAX_DYING_MS).unref();
	};
	let heard = 0;
	const silence = setTimeout(() => {
		const before = heard;
		// After a pause of this process the timer comes first, and then what was said meanwhile.
		setImmediate(() => {
			if (heard === before) kill(`it gave no sign of life for ${Math.round(silenceMs / 1000)} s`);
		});
	}, silenceMs);
	child.on("message", (message) => {
		heard++;
		silence.refresh();
		listener.onMessage(message as Message);
	});
	child.on("error", (error) => {
		if (child.pid === undefined) end(`it could not be started: ${error.message}`);
	});
	// Behind `exit` by what is still in the pipes: the last messages, and what was printed.
	child.on("close", (code, signal) => end(howItEnded(code, signal)));
	tell(first);
	return { pid: child.pid, tell, kill: () => kill() };
}

function howItEnded(code: number | null, signal: string | null): string {
	return signal === null ? `it ended with code ${code}` : `it was ended by ${signal}`;
}

/** Reads what a process prints, as it would block otherwise; the end of it. */
function tailOf({ stdout, stderr }: ChildProcess): () => string {
	let tail = "";
	for (const stream of [stdout, stderr]) {
		stream?.setEncoding("utf8").on("data", (text: string) => {
			tail = (tail + text).slice(-TAIL_LENGTH);
		});
	}
	return () => tail;
}

function once<T>(call: (value: T) => void): (value: T) => void {
	let isDone = false;
	return (value) => {
		if (isDone) return;
		isDone = true;
		call(value);
	};
}
