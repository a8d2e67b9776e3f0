import { createHash, type Hash } from "node:crypto";

/** A SHA-256 of bytes that come one after the other: OpenSSL's, 1.7 GB/s on one core of 2023 that has instructions for it. */
export function runningSha256(): Hash {
	return createHash("sha256");
}

/** SHA-256 of `bytes`, 64 hex digits. */
export function sha256(bytes: Uint8Array): string {
	return createHash("sha256").update(bytes).digest("hex");
}
