import { invariant, isHfStreamDcpError } from "../../core/errors.ts";
import type { BodyMemory } from "../exchange.ts";
import { networkError, type ResponseHead } from "../http-errors.ts";
import type { Inbox } from "./inbox.ts";
import type { Job } from "./job.ts";
import { type Framing, framingOf, type ParsedHead } from "./response-head.ts";
import { createTextBody, type TextBody } from "./text-body.ts";

/** A body that is being received. */
export interface BodyProgress {
	readonly job: Job;
	readonly totalBytes: number;
	readonly receivedBytes: () => number;
	/** Ends it with an error, and the connection with it. */
	readonly cut: (error: Error) => void;
}

/** What an answer tells while it comes. */
export interface AnswerEvents {
	/** Watches a body until the returned function is called. */
	readonly watch: (body: BodyProgress) => () => void;
	/** So many more bytes of the body are in place. */
	readonly received: (bytes: number) => void;
	/** The origin asks for restraint. */
	readonly restraint: () => void;
	/** The watch has cut the body: {@link Answer.job} has failed, the connection is of no use any more. */
	readonly cut: () => void;
}

/** Where an answer stands: more is to come; it is whole; it is over, and the connection of no use any more. */
export type AnswerStep = "more" | "whole" | "over";

/** Largest single read: larger ones cost cache misses, smaller ones calls (measured on Node 20.20: 128–512 KiB are best). */
const MAX_READ_BYTES = 256 * 1024;

/** Receives the answer to one job: its head into the inbox, its body into the job's memory. Settles the job. */
export class Answer {
	readonly job: Job;
	readonly #inbox: Inbox;
	readonly #events: AnswerEvents;
	#head: { readonly parsed: ParsedHead; readonly head: ResponseHead } | undefined;
	#text: TextBody | undefined;
	#memory: BodyMemory | undefined;
	#position = 0;
	#stopWatch: (() => void) | undefined;

	constructor(job: Job, inbox: Inbox, events: AnswerEvents) {
		this.job = job;
		this.#inbox = inbox;
		this.#events = events;
	}

	/** Whether not a byte of it has come. */
	get isUntouched(): boolean {
		return this.#head === undefined && this.#inbox.isEmpty;
	}

	/** Bytes of the body still to come; infinite as long as that is not known. */
	get leftBytes(): number {
		const { into } = this.#memory ?? {};
		return into === undefined ? Number.POSITIVE_INFINITY : into.length - this.#position;
	}

	/** Whether the connection can carry another answer behind this one. */
	get keepsConnection(): boolean {
		return this.#head?.parsed.keepsAlive === true && this.#text?.endsConnection !== true;
	}

	/** Memory for the next read; never empty. Ends where the body ends, so that nothing of the next answer lands in it. */
	room(): Uint8Array {
		const { into } = this.#memory ?? {};
		if (into === undefined || this.#position === into.length) return this.#inbox.room();
		return into.subarray(this.#position, this.#position + MAX_READ_BYTES);
	}

	/** A read brought so many bytes into {@link room}. */
	filled(bytes: number): AnswerStep {
		if (this.#memory !== undefined) return this.#advance(bytes);
		this.#inbox.filled(bytes);
		return this.readInbox();
	}

	/** Goes on with what the inbox holds. */
	readInbox(): AnswerStep {
		if (this.#head === undefined) {
			const step = this.#readHead();
			if (step !== "begun") return step;
		}
		if (this.#text !== undefined) {
			return this.#text.read(this.#inbox) ? "whole" : "more";
		}
		const { into } = this.#memory ?? {};
		invariant(into !== undefined, "a body goes to a text or to memory");
		return this.#advance(this.#inbox.take(into));
	}

	/** The connection has ended. */
	end(): AnswerStep {
		return this.#text?.end() === true ? "whole" : "more";
	}

	/** It is whole: tells the job so. */
	finish(): void {
		this.stop();
		if (this.#head !== undefined && !this.job.isOver()) this.job.done(this.#head.head);
	}

	/** Fails the job, unless nobody waits for it any more. */
	fail(error: unknown): void {
		this.stop();
		if (this.job.isOver()) return;
		this.job.failed(isHfStreamDcpError(error) ? error : networkError(error, this.job.request.url));
	}

	/** Nothing more will come. */
	stop(): void {
		this.#stopWatch?.();
		this.#stopWatch = undefined;
	}

	#readHead(): AnswerStep | "begun" {
		const { job } = this;
		const parsed = this.#inbox.head();
		if (parsed.kind === "more") return "more";
		if (job.isOver()) return "over";
		if (parsed.kind === "unusual") return this.#unusual(parsed.why);
		const head = { url: job.request.url, status: parsed.status, headers: parsed.headers };
		this.#head = { parsed, head };
		try {
			return this.#begin(parsed, head);
		} catch (error) {
			this.fail(error);
			return "over";
		}
	}

	#begin(parsed: ParsedHead, head: ResponseHead): AnswerStep | "begun" {
		const { job } = this;
		const framing = framingOf(parsed);
		const body = job.receive(head);
		if (body === undefined) {
			job.done(head);
			return "over";
		}
		if (head.status >= 300) {
			if (head.status === 429 || head.status === 503) this.#events.restraint();
			this.#text = createTextBody(framing ?? { kind: "close" }, body);
			return "begun";
		}
		if (framing?.kind !== "length") return this.#unusual(`a body framed by ${nameOf(framing)}`);
		invariant(typeof body !== "function", "the data plane receives into memory");
		if (framing.bytes > body.into.length) throw body.tooLong();
		this.#memory = { ...body, into: body.into.subarray(0, framing.bytes) };
		this.#stopWatch = this.#events.watch({
			job,
			totalBytes: framing.bytes,
			receivedBytes: () => this.#position,
			cut: (error) => {
				this.fail(error);
				this.#events.cut();
			},
		});
		return "begun";
	}

	#unusual(why: string): "over" {
		this.job.unusual(why);
		return "over";
	}

	#advance(bytes: number): AnswerStep {
		if (bytes > 0) {
			this.#position += bytes;
			this.#memory?.received(bytes);
			this.#events.received(bytes);
		}
		return this.leftBytes === 0 ? "whole" : "more";
	}
}

function nameOf(framing: Framing | undefined): string {
	if (framing === undefined) return "contradicting headers";
	return framing.kind === "chunked" ? "chunks" : "the end of the connection";
}
