import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { sendFile } from "./local-hub-bytes.ts";
import type { StoredRepo } from "./local-hub-files.ts";
import type { UrlSigner } from "./local-hub-signing.ts";

/** Answers one request to the CDN: a signed URL of a large file. */
export async function handleCdn(
	state: { readonly repos: ReadonlyMap<string, StoredRepo>; readonly signer: UrlSigner },
	request: IncomingMessage,
	response: ServerResponse,
): Promise<void> {
	const target = request.url ?? "/";
	const refusal = state.signer.refusal(target, request.headers.range);
	if (refusal !== undefined) {
		response.writeHead(403, { "Content-Type": "text/plain" }).end(refusal);
		return;
	}
	const { pathname } = new URL(target, "http://cdn");
	const [, id = "", path = ""] = /^\/([^/]+\/[^/]+)\/[^/]+\/(.+)$/.exec(pathname) ?? [];
	const file = state.repos.get(id)?.files.get(decodeURIComponent(path));
	if (file === undefined) {
		response.writeHead(404).end();
		return;
	}
	// The CDN's ETag is a hash of 64 digits as well, but not the sha256 of the content: as at the Hub, where it is the Xet hash.
	const etag = createHash("sha256")
		.update(`xet ${await file.sha256()}`)
		.digest("hex");
	await sendFile(request, response, file, { ETag: `"${etag}"` });
}
