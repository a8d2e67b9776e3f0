import type { Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import type { DemoModel } from "../../src/demo/demo-model.ts";
import {
	createLocalHub,
	type LocalHubOptions,
	type RequestRecord,
} from "../../src/demo/local-hub.ts";

/** A Hub that knows when everybody who asked it has gone. */
export interface JobHub extends AsyncDisposable {
	readonly endpoint: string;
	/** Everything that was asked, in order. */
	readonly requests: readonly RequestRecord[];
	/** Resolves when no connection is open: nothing of a process that has ended will come any more. */
	quiet(): Promise<void>;
}

/** A connection of a process that has ended may still wait to be accepted; this long it certainly does not, milliseconds. */
const SETTLE_MS = 20;

/** Starts a Hub that serves `model`. */
export async function createJobHub(
	model: DemoModel,
	options: Omit<LocalHubOptions, "repos"> = {},
): Promise<JobHub> {
	const sockets = new Set<Socket>();
	const hub = await createLocalHub({
		...options,
		repos: [model],
		intercept(call, next) {
			const { socket } = call.request;
			if (!sockets.has(socket)) {
				sockets.add(socket);
				socket.once("close", () => sockets.delete(socket));
			}
			if (options.intercept === undefined) next();
			else options.intercept(call, next);
		},
	});
	return {
		endpoint: hub.endpoint,
		requests: hub.requests,
		async quiet() {
			do await wait(SETTLE_MS);
			while (sockets.size > 0);
		},
		[Symbol.asyncDispose]: () => hub.close(),
	};
}
