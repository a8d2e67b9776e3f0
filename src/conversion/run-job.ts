import { join } from "node:path";
import type { EventListener } from "../core/events.ts";
import { at } from "../core/shape.ts";
import { isHfStreamDcpError } from "../core/errors.ts";
import type { OpenedSource } from "../fetch/open-source.ts";
import { describeSource } from "../fetch/reopen-source.ts";
import { type HeldShare, openShare } from "../job/held-share.ts";
import { LIMITS_FOLDER } from "../job/rate-board.ts";
import type { PreparedJob } from "../job/prepare.ts";
import { isOwnShare, type ShareTurn, shareTurns, unfinishedShares } from "../job/share-turns.ts";
import { recordTimeline } from "../job/timeline.ts";
import { hubEnvironmentOf } from "../inspect.ts";
import type { ConvertOptions } from "../options.ts";
import type { ShareFacts } from "../plan/share-facts.ts";
import { shareOf } from "../plan/share.ts";
import type { Plan } from "../plan/types.ts";
import type { EventCounts } from "../threads/count-events.ts";
import type { DeviceRun } from "../threads/device-run.ts";
import type { ThreadsReason } from "../threads/choose-threads.ts";
import { planThreads, type ThreadsPlan } from "../threads/plan-threads.ts";
import { runShare, type ShareSummary } from "../threads/run-share.ts";
import { runThreads } from "../threads/run-threads.ts";

/** What this worker did for one share. */
export interface WorkedShare {
	readonly share: number;
	/** Whether it belonged to another worker. */
	readonly takenOver: boolean;
	readonly seconds: number;
	/** Entries that earlier attempts had finished. */
	readonly resumedEntries: number;
	/** What each thread did. */
	readonly threads: readonly ShareSummary[];
	readonly threadsReason: ThreadsReason;
}

/** What a worker works with. */
export interface RunJobInputs {
	readonly options: ConvertOptions;
	readonly opened: OpenedSource;
	readonly plan: Plan;
	/** Of the plan's shares. */
	readonly facts: readonly ShareFacts[];
	readonly job: PreparedJob;
	/** What the number of threads depends on. */
	readonly demand: Parameters<typeof planThreads>[1];
	readonly device: DeviceRun;
	readonly counts: EventCounts;
}

/**
 * Does the shares that are this worker's to do. A share that another worker took over meanwhile is left to it.
 *
 * @throws {HfStreamDcpError} the first failure; what was finished is kept, and the share given back.
 * @throws `signal.reason` when aborted.
 */
export async function runJob(inputs: RunJobInputs): Promise<readonly WorkedShare[]> {
	const { job, plan, options } = inputs;
	const worked: WorkedShare[] = [];
	const { onEvent } = inputs.counts;
	const announce = await announcePlanned(inputs.facts, job, onEvent);
	let writtenBytes = 0;
	for await (const turn of shareTurns(job)) {
		const own = shareOf(plan, turn.share).plan;
		announce(turn.share);
		if (turn.isTakenOver) onEvent({ kind: "warning", message: describeTakeOver(turn) });
		const after = { ...inputs, onEvent: writtenAfter(writtenBytes, onEvent) };
		try {
			const done = await workOn(turn, own, after);
			for (const thread of done.threads) writtenBytes += thread.writtenBytes;
			worked.push(done);
		} catch (error) {
			options.signal?.throwIfAborted();
			if (!isHfStreamDcpError(error, "SHARE_TAKEN_OVER") && !(await turn.claim.isLost()))
				throw error;
			const message = `share ${turn.share} is left to the worker that took it over`;
			onEvent({ kind: "warning", message });
		} finally {
			await turn.claim.release();
		}
	}
	return worked;
}

/**
 * Tells how much this worker expects to do: its own shares. What it takes over is added when it does.
 *
 * @returns Called with every share that is begun.
 */
async function announcePlanned(
	facts: readonly ShareFacts[],
	job: PreparedJob,
	onEvent: EventListener,
): Promise<(share: number) => void> {
	const known = new Set((await unfinishedShares(job)).filter((share) => isOwnShare(job, share)));
	const sum = (of: (share: ShareFacts) => number): number =>
		[...known].reduce((total, share) => total + of(at(facts, share)), 0);
	const tell = (): void =>
		onEvent({
			kind: "planned",
			fetchBytes: sum(({ fetchBytes }) => fetchBytes),
			writeBytes: sum(({ writeBytes }) => writeBytes),
			entries: sum(({ entries }) => entries),
		});
	tell();
	return (share) => {
		if (known.has(share)) return;
		known.add(share);
		tell();
	};
}

async function workOn(
	turn: ShareTurn,
	own: Plan,
	inputs: RunJobInputs & { readonly onEvent: EventListener },
): Promise<WorkedShare> {
	const started = performance.now();
	const { job, counts } = inputs;
	let written = 0;
	const onEvent: EventListener = (event) => {
		if (event.kind === "written") written = event.bytes;
		inputs.onEvent(event);
	};
	using timeline = recordTimeline(job.timers, () => [
		counts.receivedBytes,
		written,
		counts.retries,
	]);
	await using held = await openShare(job, turn, { ...own, directory: job.options.directory });
	const isFinished = (entry: number): boolean => held.resumed.has(entry);
	const threads = planThreads(own, inputs.demand, isFinished);
	const summaries = await streamShare(held, threads, { ...inputs, onEvent });
	const seconds = (performance.now() - started) / 1000;
	const sum = (of: (thread: ShareSummary) => number): number =>
		summaries.reduce((total, thread) => total + of(thread), 0);
	await held.finish({
		seconds,
		fetchedBytes: sum(({ fetchedBytes }) => fetchedBytes),
		requests: sum(({ requests }) => requests),
		retries: sum(({ retries }) => retries),
		writtenBytes: sum(({ writtenBytes }) => writtenBytes),
		entries: sum(({ entries }) => entries),
		course: timeline.end(),
	});
	return {
		share: turn.share,
		takenOver: turn.isTakenOver,
		seconds,
		resumedEntries: held.resumed.size,
		threads: summaries,
		threadsReason: threads.reason,
	};
}

/** Runs the threads: a single one in this thread, several, and those that use a GPU, in threads of their own. */
async function streamShare(
	held: HeldShare,
	{ shares, connections }: ThreadsPlan,
	{
		options,
		opened,
		job,
		device,
		counts,
		onEvent,
	}: RunJobInputs & { readonly onEvent: EventListener },
): Promise<readonly ShareSummary[]> {
	const { hash, signal, environment } = options;
	const { directory } = held;
	const [only] = shares;
	if (only !== undefined && shares.length === 1 && device.device === "cpu") {
		const before = counts.retries;
		const summary = await runShare({
			plan: only.plan,
			source: opened.bytes,
			directory,
			isFinished: (entry) => held.resumed.has(entry),
			record: (finished) => held.record(finished),
			writeMode: held.writeMode,
			hash,
			signal,
			onEvent,
		});
		return [{ ...summary, retries: counts.retries - before }];
	}
	return runThreads({
		shares,
		owner: held,
		directory,
		source: describeSource(opened),
		environment: hubEnvironmentOf(environment),
		limits: join(job.path, LIMITS_FOLDER),
		hash,
		connections,
		device: device.device,
		onTrouble: device.onTrouble,
		receivedBytes: counts.receivedBytes,
		signal,
		onEvent,
	});
}

/** Every share counts what is written from 0 on; whoever listens hears totals. */
function writtenAfter(before: number, listener: EventListener): EventListener {
	return (event) =>
		listener(event.kind === "written" ? { ...event, bytes: before + event.bytes } : event);
}

function describeTakeOver({ share, before }: ShareTurn): string {
	const why: { readonly [S in ShareTurn["before"]["state"]]: string } = {
		none: "which nobody has begun",
		alive: `from ${before.holder}`,
		released: `which ${before.holder} gave back`,
		gone: `whose ${before.holder} is dead`,
		silent: `whose ${before.holder} gave no sign of life for ${Math.round(before.unchangedMs / 1000)} s`,
	};
	return `takes over share ${share}, ${why[before.state]}`;
}
