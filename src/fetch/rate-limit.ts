import { MAX_RATE_WAIT_MS } from "../core/rate-board.ts";

/**
 * How long an answer asks us to stay away, milliseconds; `undefined` when it does not say.
 *
 * The Hub's 429 has no `Retry-After` but `RateLimit: "resolvers";r=0;t=87`: nothing left (`r`), and a new window in `t`
 * seconds. The header is on every answer, so it counts only when nothing is left. One second is added because `t` is rounded.
 *
 * @see huggingface/hub-docs `docs/hub/rate-limits.md`; draft-ietf-httpapi-ratelimit-headers.
 */
export function parseRetryAfterMs(headers: Headers): number | undefined {
	const ms = statedRetryAfterMs(headers);
	return ms === undefined ? undefined : Math.min(ms, MAX_RATE_WAIT_MS);
}

function statedRetryAfterMs(headers: Headers): number | undefined {
	const limit = headers.get("ratelimit") ?? "";
	const remaining = /;\s*r=(\d+)/.exec(limit)?.[1];
	const reset = /;\s*t=(\d+)/.exec(limit)?.[1];
	if (remaining !== undefined && Number(remaining) === 0 && reset !== undefined) {
		return (Number(reset) + 1) * 1000;
	}
	const after = headers.get("retry-after")?.trim();
	if (after === undefined || after === "") return undefined;
	if (/^\d+$/.test(after)) return Number(after) * 1000;
	const date = Date.parse(after);
	const now = Date.parse(headers.get("date") ?? "");
	return Number.isNaN(date) || Number.isNaN(now) ? undefined : Math.max(0, date - now);
}
