import { HfStreamDcpError } from "../../core/errors.ts";
import { type Carrier, tooSlow } from "../exchange.ts";
import { networkError, withoutQuery } from "../http-errors.ts";
import { watchThroughput } from "../watchdog.ts";
import type { BodyProgress } from "./answer.ts";
import { Connection, type ConnectionOwner, type OpenSocket } from "./connection.ts";
import { type ConnectionLimit, createConnectionLimit } from "./connection-limit.ts";
import type { Job } from "./job.ts";
import { createTailWatch } from "./tail-watch.ts";

/** What {@link OriginPool} needs. */
export interface OriginPoolOptions extends Pick<Carrier, "clock" | "timeouts"> {
	readonly openSocket: OpenSocket;
	/** Most connections at a time. */
	readonly maxConnections: number;
	/** Told how many connections are open, whenever one is opened. */
	readonly opened: (connections: number) => void;
}

/** The connections to one origin, and what waits for them. None is opened before the first job. */
export class OriginPool {
	readonly #options: OriginPoolOptions;
	readonly #queue: Job[] = [];
	readonly #connections = new Set<Connection>();
	readonly #idle: Connection[] = [];
	readonly #limit: ConnectionLimit;
	readonly #owner: ConnectionOwner;
	#maySendAhead = true;
	#isClosed = false;

	constructor(options: OriginPoolOptions) {
		this.#options = options;
		const { clock, maxConnections: max } = options;
		const isWaiting = (): boolean => this.#queue.length > 0;
		const raised = (): void => this.#pump();
		const limit = createConnectionLimit({ max, now: () => clock.now(), isWaiting, raised });
		const tail = createTailWatch({ clock, isWaiting, lags: cutLagging });
		this.#limit = limit;
		this.#owner = {
			idle: (connection) => this.#onIdle(connection),
			closed: (connection, droppedNext) => this.#onClosed(connection, droppedNext),
			next: () => (this.#maySendAhead ? this.#queue.shift() : undefined),
			received: (bytes) => limit.received(bytes),
			lost: () => limit.lost(),
			restraint: () => limit.restrained(),
			watch: (body) => {
				const stopTail = tail.add(body);
				const stopWatch = watchBody(options, body);
				return () => {
					stopTail();
					stopWatch();
				};
			},
		};
	}

	/** Carries a job, in the order of the calls. */
	submit(job: Job): void {
		this.#queue.push(job);
		this.#pump();
	}

	/** Takes a job back that nobody waits for any more: {@link Job.isOver} says so already. Cuts its answer. */
	cancel(job: Job): void {
		const index = this.#queue.indexOf(job);
		if (index >= 0) this.#queue.splice(index, 1);
		for (const connection of this.#connections) connection.cancel(job);
	}

	/** Closes every connection; the jobs that are left fail. */
	close(): void {
		this.#isClosed = true;
		for (const connection of this.#connections) connection.close();
		const error = new Error("the connection was closed");
		for (const job of this.#queue.splice(0)) job.failed(networkError(error, job.request.url));
	}

	#onIdle(connection: Connection): void {
		this.#idle.push(connection);
		this.#pump();
		const isSurplus = this.#connections.size > this.#limit.value;
		if (isSurplus && this.#idle.includes(connection)) connection.close();
	}

	#onClosed(connection: Connection, droppedNext: boolean): void {
		this.#connections.delete(connection);
		const index = this.#idle.indexOf(connection);
		if (index >= 0) this.#idle.splice(index, 1);
		// An origin that drops what was sent ahead is not sent anything ahead again.
		if (droppedNext) this.#maySendAhead = false;
		this.#pump();
	}

	#pump(): void {
		while (!this.#isClosed) {
			const mayOpen = this.#connections.size < this.#limit.value;
			const connection = this.#idle.pop();
			const job = connection !== undefined || mayOpen ? this.#queue.shift() : undefined;
			if (job === undefined) {
				if (connection !== undefined) this.#idle.push(connection);
				return;
			}
			if (connection !== undefined) connection.start(job);
			else {
				const { openSocket, opened } = this.#options;
				this.#connections.add(new Connection(openSocket, this.#owner, job));
				opened(this.#connections.size);
			}
		}
	}
}

/** Cuts a body that drips. */
function watchBody(
	{ clock, timeouts }: Pick<Carrier, "clock" | "timeouts">,
	{ job, receivedBytes, cut }: BodyProgress,
): () => void {
	return watchThroughput({
		clock,
		windowMs: timeouts.slowWindowMs,
		minBytesPerSecond: timeouts.slowBytesPerSecond,
		received: receivedBytes,
		tooSlow: (bytes) => cut(tooSlow(timeouts, job.request.url, bytes)),
	});
}

function cutLagging({ job, totalBytes, receivedBytes, cut }: BodyProgress): void {
	const { url } = job.request;
	const left = totalBytes - receivedBytes();
	const error = new HfStreamDcpError(
		"NETWORK_FAILED",
		`${new URL(url).host} sends the last ${left} bytes of a range far slower than the others`,
		{ retryable: true, facts: { url: withoutQuery(url), again: "hedged" } },
	);
	cut(error);
}
