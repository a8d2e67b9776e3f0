import type { ByteRange } from "./ports.ts";

/** What happens during a run, for whoever watches. Counters are totals since the start of the run. */
export type ProgressEvent =
	| { readonly kind: "phase"; readonly phase: "resolve" | "headers" | "plan" | "stream" | "commit" }
	/** Once, before the first weight byte: what the whole plan fetches and writes, finished entries included. */
	| {
			readonly kind: "planned";
			readonly fetchBytes: number;
			readonly writeBytes: number;
			readonly entries: number;
	  }
	| { readonly kind: "request"; readonly range: ByteRange; readonly attempt: number }
	| { readonly kind: "received"; readonly bytes: number }
	| { readonly kind: "written"; readonly bytes: number }
	| { readonly kind: "entry"; readonly index: number; readonly resumed: boolean }
	| {
			readonly kind: "retry";
			/** What is tried again: a file or an endpoint. */
			readonly what: string;
			/** The failure, for people. */
			readonly reason: string;
			readonly delayMs: number;
	  }
	/** Another worker of the job was told that a rate limit is used up, so that this one, too, sends nothing that counts against it. */
	| {
			readonly kind: "waiting";
			/** Which limit of which host, for people: `the "resolvers" rate limit of huggingface.co is used up`. */
			readonly reason: string;
			/** What would raise the limit, one sentence. */
			readonly hint: string;
			readonly delayMs: number;
			/** When requests go on, milliseconds since 1970 on this machine's clock. */
			readonly until: number;
	  }
	/** A lagging answer at the end of the work is continued over another connection. */
	| { readonly kind: "hedge"; readonly what: string }
	/** A request for weight bytes that does not go over the data plane. */
	| { readonly kind: "fallback"; readonly host: string; readonly why: string }
	/** More connections to one origin are open than ever before in this run. */
	| { readonly kind: "connections"; readonly connections: number }
	| { readonly kind: "warning"; readonly message: string };

/** Receives events. One that throws cannot break a conversion: see {@link emitTo}. */
export type EventListener = (event: ProgressEvent) => void;

/** Wraps a listener so that its exceptions are swallowed; no listener becomes a no-op. */
export function emitTo(listener: EventListener | undefined): EventListener {
	if (listener === undefined) return () => {};
	return (event) => {
		try {
			listener(event);
		} catch {
			// A broken progress display must never cost a conversion.
		}
	};
}
