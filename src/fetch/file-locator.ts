import { HfStreamDcpError, isHfStreamDcpError } from "../core/errors.ts";
import { abortableWait } from "./clock.ts";
import type { HubClient } from "./hub-client.ts";
import { changed, locate, type Location, type PinnedFile } from "./resolve.ts";

/** Knows where the bytes of one file are, for all reads of it. */
export interface FileLocator {
	/**
	 * Where to read `range` now. One question to the Hub serves every reader that waits for it.
	 *
	 * @param range - The `Range` header that will be sent.
	 */
	at(range: string, signal: AbortSignal | undefined): Promise<Location>;
	/** Tells that `location` served. */
	succeeded(location: Location): void;
	/** Tells that `location` failed with `error`; a location that may be the reason is not handed out again. */
	failed(location: Location, error: unknown): void;
}

/** Server errors in a row after which the Hub is asked for another location. */
const SERVER_ERRORS_BEFORE_RENEWAL = 2;

/**
 * Whether a refusal says that the URL is signed for another range. Since 2026 the CDN binds a URL to the `Range` that was sent to
 * `/resolve`: a policy with `ByteRange.ExpectedHeader`, answered `403 Auth failed: invalid range`.
 */
function saysRange(error: HfStreamDcpError): boolean {
	return /range/i.test(String(error.facts["text"]));
}

/** Refusals of URLs that never served, after which they are taken for bound even when the answer does not say so. */
const FRESH_REFUSALS_BEFORE_BINDING = 2;

/**
 * The locator of one file. It asks without a range, which gives a URL good for every range. When a URL that has never served is
 * refused for its range all the same, the Hub binds every URL, and from then on each range is asked for on its own.
 *
 * @param session - Aborts the questions that several readers share.
 */
export function createFileLocator(
	client: HubClient,
	file: PinnedFile,
	session: AbortSignal,
): FileLocator {
	const served = new WeakSet<Location>();
	let current: Promise<Location> | undefined;
	let currentLocation: Location | undefined;
	let isRangeBound = false;
	let serverErrors = 0;
	let refusedFresh = 0;
	let knownEtag: string | undefined;

	const check = (location: Location): Location => {
		if (knownEtag !== undefined && location.etag !== undefined && location.etag !== knownEtag) {
			throw changed(file, "ETag", location.etag, knownEtag);
		}
		knownEtag ??= location.etag;
		return location;
	};
	const renew = (): void => {
		current = undefined;
		currentLocation = undefined;
		serverErrors = 0;
	};
	const ask = async (): Promise<Location> => {
		try {
			const location = check(await locate({ client, file, signal: session }));
			currentLocation = location;
			return location;
		} catch (error) {
			renew();
			throw error;
		}
	};
	return {
		at: async (range, signal) => {
			if (isRangeBound) return check(await locate({ client, file, range, signal }));
			if (currentLocation !== undefined && client.clock.now() >= currentLocation.refreshAt) renew();
			current ??= ask();
			return abortableWait(current, signal);
		},
		succeeded: (location) => {
			served.add(location);
			refusedFresh = 0;
			serverErrors = 0;
		},
		failed: (location, error) => {
			// Another reader may have renewed it meanwhile.
			if (location !== currentLocation || !isHfStreamDcpError(error)) return;
			const status = Number(error.facts["status"] ?? 0);
			if (status === 403 && !served.has(location)) {
				refusedFresh++;
				if (saysRange(error) || refusedFresh >= FRESH_REFUSALS_BEFORE_BINDING) isRangeBound = true;
			}
			if (status >= 500) serverErrors++;
			const isSuspect =
				isHfStreamDcpError(error, "RANGE_IGNORED", "RANGE_MISMATCH") ||
				(status >= 400 && status < 500 && status !== 408 && status !== 429);
			if (isSuspect || serverErrors >= SERVER_ERRORS_BEFORE_RENEWAL) renew();
		},
	};
}
