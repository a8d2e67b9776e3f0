import type { Socket } from "node:net";
import { HfStreamDcpError, invariant } from "../../core/errors.ts";
import { networkError } from "../http-errors.ts";
import { Answer, type AnswerEvents, type AnswerStep } from "./answer.ts";
import { createInbox, type Inbox } from "./inbox.ts";
import type { Job } from "./job.ts";

/** Opens a socket whose reads go into the memory that `onread` names; calls back once, with the socket or the error. */
export type OpenSocket = (
	onread: { readonly buffer: () => Uint8Array; readonly callback: (bytes: number) => boolean },
	opened: (error: Error | null, socket: Socket | null) => void,
) => void;

/** What a connection tells whoever owns it. */
export interface ConnectionOwner extends Omit<AnswerEvents, "cut"> {
	/** Nothing is left to do: give it a job, or close it. */
	readonly idle: (connection: Connection) => void;
	/** It is gone; `droppedNext`: with a request that had been sent ahead. */
	readonly closed: (connection: Connection, droppedNext: boolean) => void;
	/** The body in progress ends soon: a job that may be sent already. */
	readonly next: () => Job | undefined;
	/** It was lost while an answer was due. */
	readonly lost: () => void;
}

/** When this much of a body is left, the next request is sent: its answer then begins without the pause of a round trip. */
const NEAR_END_BYTES = 1024 * 1024;

/** An idle connection is closed before common servers (5 s at Node's) would close it under a request. */
const IDLE_MS = 4000;

/**
 * One HTTP/1.1 connection and the answers that come over it, one after the other. Bodies of known length land where they belong,
 * read by read, without a parser or a copy.
 */
export class Connection {
	readonly #owner: ConnectionOwner;
	readonly #events: AnswerEvents;
	readonly #inbox: Inbox = createInbox();
	#socket: Socket | undefined;
	#isClosed = false;
	/** The answer that is coming; none when idle. */
	#answer: Answer | undefined;
	/** The job that was sent ahead. */
	#next: Job | undefined;
	#answers = 0;

	/** Begins to connect; `job` is sent when the socket is open. */
	constructor(open: OpenSocket, owner: ConnectionOwner, job: Job) {
		this.#owner = owner;
		const { watch, received, restraint } = owner;
		this.#events = { watch, received, restraint, cut: () => this.close() };
		this.#answer = new Answer(job, this.#inbox, this.#events);
		const buffer = (): Uint8Array => this.#answer?.room() ?? this.#inbox.room();
		const callback = (bytes: number): boolean => this.#onRead(bytes);
		open({ buffer, callback }, (error, socket) => this.#onOpen(error, socket));
	}

	/** Sends a job over the idle connection. */
	start(job: Job): void {
		invariant(this.#answer === undefined && !this.#isClosed, "the connection is not idle");
		this.#answer = new Answer(job, this.#inbox, this.#events);
		this.#socket?.setTimeout(job.request.stallMs);
		this.#socket?.write(job.text, "latin1");
	}

	/** Cuts the answer to `job`, whom nobody waits for; one that was only sent ahead is cut when its turn comes. */
	cancel(job: Job): void {
		if (this.#answer?.job === job) this.close();
	}

	/** Ends the connection and fails its jobs. */
	close(error: Error = new Error("the connection was closed")): void {
		if (this.#isClosed) return;
		this.#isClosed = true;
		this.#socket?.destroy();
		const [answer, next] = [this.#answer, this.#next];
		this.#answer = undefined;
		this.#next = undefined;
		// A server may close an old connection at any time, and so just when a request is on its way.
		const isUnanswered = answer?.isUntouched === true && this.#answers > 0;
		answer?.fail(isUnanswered ? unansweredError(error, answer.job) : error);
		if (next?.isOver() === false) next.failed(unansweredError(error, next));
		this.#owner.closed(this, next !== undefined);
	}

	#onOpen(error: Error | null, socket: Socket | null): void {
		if (this.#isClosed) {
			socket?.destroy();
			return;
		}
		if (socket === null) {
			this.#lose(error ?? new Error("no connection"));
			return;
		}
		this.#socket = socket;
		socket.on("timeout", () => this.#onTimeout());
		socket.on("error", (cause) => this.#lose(cause));
		socket.on("end", () => this.#onEnd());
		socket.on("close", () => this.#onEnd());
		const { job } = this.#answer ?? {};
		socket.setTimeout(job?.request.stallMs ?? IDLE_MS);
		if (job !== undefined) socket.write(job.text, "latin1");
	}

	#onTimeout(): void {
		const answer = this.#answer;
		if (answer === undefined) {
			this.close();
			return;
		}
		// A silence is no sign of an old connection: it is not asked again without a word.
		this.#owner.lost();
		answer.fail(new Error(`nothing came for ${answer.job.request.stallMs / 1000} s`));
		this.close();
	}

	#onEnd(): void {
		// The text of an error may end with the connection.
		if (this.#answer?.end() === "whole") this.#afterAnswer(this.#answer);
		else this.#lose(new Error("the other side closed the connection"));
	}

	#lose(error: Error): void {
		if (this.#isClosed) return;
		if (this.#answer !== undefined) this.#owner.lost();
		this.close(error);
	}

	#onRead(bytes: number): boolean {
		if (this.#isClosed) return false;
		const answer = this.#answer;
		if (answer === undefined) this.#lose(new Error("an answer that nobody asked for"));
		else this.#afterStep(answer, answer.filled(bytes));
		return !this.#isClosed;
	}

	#afterStep(answer: Answer, step: AnswerStep): void {
		if (step === "over") this.close();
		else if (step === "whole") this.#afterAnswer(answer);
		else if (answer.leftBytes <= NEAR_END_BYTES) this.#sendAhead(answer);
	}

	#sendAhead(answer: Answer): void {
		if (this.#next !== undefined || !answer.keepsConnection) return;
		this.#next = this.#owner.next();
		if (this.#next !== undefined) this.#socket?.write(this.#next.text, "latin1");
	}

	#afterAnswer(answer: Answer): void {
		this.#answers++;
		const next = this.#next;
		this.#next = undefined;
		this.#answer = next === undefined ? undefined : new Answer(next, this.#inbox, this.#events);
		answer.finish();
		if (!answer.keepsConnection) this.close();
		else if (this.#answer !== undefined) {
			this.#socket?.setTimeout(this.#answer.job.request.stallMs);
			if (!this.#inbox.isEmpty) this.#afterStep(this.#answer, this.#answer.readInbox());
		} else if (this.#inbox.isEmpty) {
			this.#socket?.setTimeout(IDLE_MS);
			this.#owner.idle(this);
		} else this.#lose(new Error("an answer that nobody asked for"));
	}
}

/** The error for a request that was lost with its connection before anything was answered: no failure of the origin. */
function unansweredError(cause: Error, { request }: Job): HfStreamDcpError {
	const { code, message, hint, facts } = networkError(cause, request.url);
	return new HfStreamDcpError(code, message, {
		hint,
		retryable: true,
		facts: { ...facts, again: "unanswered" },
		cause,
	});
}
