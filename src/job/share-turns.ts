import { listIfThere } from "../files/read-file.ts";
import { type Claim, type Claims, claimsOn, type Sighting } from "./claims.ts";
import { endedElsewhere } from "./job.ts";
import type { PreparedJob } from "./prepare.ts";
import { shareOfName, sharePath } from "./state.ts";
import { growingWaits } from "./timers.ts";

/** A share that this process may work on now. */
export interface ShareTurn {
	readonly share: number;
	readonly claim: Claim;
	/** All claims on it. */
	readonly claims: Claims;
	/** What was seen before it was claimed. */
	readonly before: Sighting;
	/** Whether it belongs to another worker. */
	readonly isTakenOver: boolean;
}

/** Shares of others that an idle worker watches at once. All idle workers watch the same ones in the end, when few are left. */
const WATCHED_SHARES = 8;

/**
 * The shares that are this worker's to do, one after the other: first its own, `index`, `index + count`, …, then, with take-over,
 * those that nobody shows life on. Ends when every share that concerns this worker is done.
 *
 * @yields Claimed shares; the caller releases the claim.
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`. @throws `signal.reason` when aborted.
 */
export async function* shareTurns(job: PreparedJob): AsyncGenerator<ShareTurn> {
	const { signal } = job.options;
	const turns = new Turns(job);
	let wait = growingWaits(job.timers, job.everyMs, signal);
	for (;;) {
		signal?.throwIfAborted();
		if ((await endedElsewhere(job)) !== undefined) return;
		const left = await turns.left();
		if (left.length === 0) return;
		const turn = await turns.next(left);
		if (turn === undefined) await wait();
		else {
			yield turn;
			wait = growingWaits(job.timers, job.everyMs, signal);
		}
	}
}

/**
 * Shares that are not done, in order.
 *
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export async function unfinishedShares({
	plan,
	donePath,
}: PreparedJob): Promise<readonly number[]> {
	const done = new Set((await listIfThere(donePath)).map(shareOfName));
	return [...plan.shares.keys()].filter(
		(share) => !done.has(share) && (plan.shares[share]?.entries ?? 0) > 0,
	);
}

/** Whether a share is for this worker to begin with. */
export function isOwnShare({ options }: PreparedJob, share: number): boolean {
	return share % options.worker.count === options.worker.index;
}

class Turns {
	readonly #job: PreparedJob;
	readonly #claims = new Map<number, Claims>();
	/** Shares whose holder was told of. */
	readonly #told = new Set<number>();

	constructor(job: PreparedJob) {
		this.#job = job;
	}

	/** What concerns this worker and is not done, its own first and then those that follow in the ring. */
	async left(): Promise<readonly number[]> {
		const { worker, takeover } = this.#job.options;
		const unfinished = await unfinishedShares(this.#job);
		const own = unfinished.filter((share) => this.#isOwn(share));
		if (!takeover) return own;
		const others = unfinished.filter((share) => !this.#isOwn(share));
		const next = others.findIndex((share) => share > worker.index);
		const ring = next < 0 ? others : [...others.slice(next), ...others.slice(0, next)];
		return [...own, ...ring.slice(0, WATCHED_SHARES)];
	}

	/** The first of `shares` that is free, claimed. */
	async next(shares: readonly number[]): Promise<ShareTurn | undefined> {
		for (const share of shares) {
			const claims = this.#claimsOn(share);
			const before = await claims.look();
			if (!this.#isFree(share, before)) {
				this.#tell(share, before);
				continue;
			}
			const claim = await claims.take(before.number);
			if (claim === undefined) continue;
			return { share, claim, claims, before, isTakenOver: !this.#isOwn(share) };
		}
		return undefined;
	}

	/** A share that nobody has begun is left to its own worker for a lease: it may start later than this one. */
	#isFree(share: number, { state, unchangedMs }: Sighting): boolean {
		if (state === "alive") return false;
		return state !== "none" || this.#isOwn(share) || unchangedMs >= this.#job.options.leaseMs;
	}

	#isOwn(share: number): boolean {
		return isOwnShare(this.#job, share);
	}

	/** Somebody else working on what is ours is worth a word: perhaps the same command was started twice. */
	#tell(share: number, { holder }: Sighting): void {
		if (!this.#isOwn(share) || this.#told.has(share)) return;
		this.#told.add(share);
		const seconds = this.#job.options.leaseMs / 1000;
		this.#job.emit({
			kind: "warning",
			message: `share ${share} is held by ${holder}: waiting until it is done, or until there is no sign of life for ${seconds} s`,
		});
	}

	#claimsOn(share: number): Claims {
		const known = this.#claims.get(share);
		if (known !== undefined) return known;
		const claims = claimsOn(this.#job, sharePath(this.#job.planPath, share));
		this.#claims.set(share, claims);
		return claims;
	}
}
