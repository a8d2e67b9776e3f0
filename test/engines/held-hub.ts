import type { Socket } from "node:net";
import {
	createLocalHub,
	type Intercept,
	type LocalHub,
	type RequestRecord,
} from "../../src/demo/local-hub.ts";

/** A Hub that can stop answering in the middle of a conversion, and go on later. */
export interface HeldHub extends AsyncDisposable {
	readonly endpoint: string;
	/**
	 * From now on, answers `count` requests for weights of each connection, and lets the later ones wait. With `--connections 1` a worker
	 * has one.
	 */
	holdAfter(count: number): void;
	/** Resolves when so many connections wait. */
	held(connections: number): Promise<void>;
	/** Answers those that wait, and everything from now on. */
	release(): void;
}

/** Serves the models of `repos` on loopback. */
export async function openHeldHub(
	repos: readonly { readonly id: string; readonly directory: string }[],
): Promise<HeldHub> {
	const waiting: (() => void)[] = [];
	let allowed = Infinity;
	let answered = new WeakMap<Socket, number>();
	let onWaiting = (): void => {};
	const intercept: Intercept = ({ record, request }, next) => {
		const before = answered.get(request.socket) ?? 0;
		if (!isForWeights(record) || before < allowed) {
			if (isForWeights(record)) answered.set(request.socket, before + 1);
			return next();
		}
		waiting.push(next);
		onWaiting();
	};
	const hub: LocalHub = await createLocalHub({ repos, intercept });
	return {
		endpoint: hub.endpoint,
		holdAfter(count) {
			allowed = count;
			answered = new WeakMap();
		},
		held: (connections) =>
			new Promise((resolve) => {
				onWaiting = () => {
					if (waiting.length >= connections) resolve();
				};
				onWaiting();
			}),
		release() {
			allowed = Infinity;
			for (const next of waiting.splice(0)) next();
		},
		[Symbol.asyncDispose]: () => hub.close(),
	};
}

/** Longer than any header of the models served. */
const LEAST_WEIGHT_BYTES = 64 * 1024;

function isForWeights({ origin, range }: RequestRecord): boolean {
	const [, start, end] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
	return origin === "cdn" && Number(end) - Number(start) >= LEAST_WEIGHT_BYTES;
}
