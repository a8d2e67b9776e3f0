import type { IncomingMessage } from "node:http";
import { setTimeout as wait } from "node:timers/promises";
import type { DemoModel } from "../../src/demo/demo-model.ts";
import type { LocalHubOptions, RequestRecord } from "../../src/demo/local-hub.ts";
import { createJobHub, type JobHub } from "./job-hub.ts";

/** A Hub that answers a given number of weight requests of each kind and keeps the rest waiting, so that a job stays in its middle. */
export interface HeldHub extends JobHub {
	/** How many requests of this kind are answered from now on, one after the other; further ones wait. */
	hold(kind: string, afterRequests: number): void;
	/** Whether requests of this kind wait, and all that were allowed are answered. */
	isHolding(kind: string): boolean;
	/** Answers one more of this kind, if one waits. */
	step(kind: string): void;
	/** Answers what waits, of this kind or of all, and everything after it. */
	release(kind?: string): void;
}

/** What {@link createHeldHub} needs. */
export interface HeldHubOptions extends Omit<LocalHubOptions, "repos" | "intercept"> {
	/** What kind of request this is. Asked for weight requests only. */
	readonly kindOf: (record: RequestRecord, request: IncomingMessage) => string;
}

/** Between two answers that were allowed: the program is to write down what it finished in between, every 20 ms. */
const PAUSE_MS = 40;

interface Kind {
	left: number;
	answering: Promise<void>;
	pending: number;
	readonly waiting: (() => void)[];
}

/** Starts such a Hub; nothing is held at first. */
export async function createHeldHub(model: DemoModel, options: HeldHubOptions): Promise<HeldHub> {
	const kinds = new Map<string, Kind>();
	const answer = async (kind: Kind, next: () => void): Promise<void> => {
		await kind.answering;
		next();
		await wait(PAUSE_MS);
		kind.pending--;
	};
	const hub = await createJobHub(model, {
		...options,
		intercept({ record, request }, next) {
			// Headers are read in two pieces from the front of a file, up to byte 8 and from there.
			const isWeights = record.origin === "cdn" && /^bytes=\d{2,}-/.test(record.range ?? "");
			const kind = isWeights ? kinds.get(options.kindOf(record, request)) : undefined;
			if (kind === undefined) next();
			else if (kind.left-- > 0) {
				kind.pending++;
				kind.answering = answer(kind, next);
			} else kind.waiting.push(next);
		},
	});
	return {
		...hub,
		hold(kind, afterRequests) {
			const waiting = kinds.get(kind)?.waiting ?? [];
			const held = { left: afterRequests, answering: Promise.resolve(), pending: 0, waiting };
			kinds.set(kind, held);
		},
		isHolding(name) {
			const kind = kinds.get(name);
			return kind !== undefined && kind.pending === 0 && kind.waiting.length > 0;
		},
		step: (name) => kinds.get(name)?.waiting.shift()?.(),
		release(name) {
			for (const [one, { waiting }] of kinds) {
				if (name !== undefined && name !== one) continue;
				kinds.delete(one);
				for (const next of waiting) next();
			}
		},
	};
}
