import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

/**
 * Which ranges a signed URL serves. `when-ranged`: exactly the range that `/resolve` was asked with, or all of them when it was
 * asked without one, as observed at the Hub in 2026. `always`: exactly the range asked with, and none when there was none.
 * `never`: all.
 */
export type RangeBinding = "when-ranged" | "always" | "never";

/** Signs CDN URLs and checks them. */
export interface UrlSigner {
	/** @param range - The `Range` header that `/resolve` was asked with. */
	sign(url: string, range: string | undefined): string;
	/**
	 * Whether `url` may be used with this `Range` header; the reason when not, in the CDN's words.
	 *
	 * @param target - Path and query.
	 */
	refusal(target: string, range: string | undefined): string | undefined;
}

/**
 * A signer with a key of its own.
 *
 * @param now - Milliseconds since the epoch.
 * @param lifeSeconds - How long a URL is valid.
 */
export function createSigner(
	binding: RangeBinding,
	lifeSeconds: number,
	now: () => number,
): UrlSigner {
	const key = randomBytes(32);
	const signature = (path: string, query: URLSearchParams): string =>
		createHmac("sha256", key)
			.update(`${path}\n${query.get("Expires") ?? ""}\n${query.get("ByteRange") ?? ""}`)
			.digest("hex");
	return {
		sign: (url, range) => {
			const signed = new URL(url);
			signed.searchParams.set("Expires", String(Math.floor(now() / 1000) + lifeSeconds));
			if (binding === "always" || (binding === "when-ranged" && range !== undefined)) {
				signed.searchParams.set("ByteRange", range ?? "none");
			}
			signed.searchParams.set("Signature", signature(signed.pathname, signed.searchParams));
			return signed.href;
		},
		refusal: (target, range) => {
			const { pathname, searchParams } = new URL(target, "http://cdn");
			const expected = Buffer.from(signature(pathname, searchParams));
			const given = Buffer.from(searchParams.get("Signature") ?? "");
			if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
				return "Auth failed: invalid signature";
			}
			if (Number(searchParams.get("Expires")) * 1000 <= now()) return "Auth failed: expired";
			const bound = searchParams.get("ByteRange");
			return bound !== null && bound !== (range ?? "none")
				? "Auth failed: invalid range"
				: undefined;
		},
	};
}
