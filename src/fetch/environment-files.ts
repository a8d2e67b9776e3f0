import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { HfStreamDcpError } from "../core/errors.ts";

/**
 * Text of the token file, `undefined` when there is none.
 *
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` when it exists and cannot be read.
 */
export function readTokenFile(path: string): string | undefined {
	try {
		return readFileSync(path, "utf8");
	} catch (error) {
		if (isMissing(error)) return undefined;
		throw new HfStreamDcpError("OPTIONS_INVALID", `the token file ${path} cannot be read`, {
			hint: "Correct its permissions, log in again with `hf auth login`, or set HF_TOKEN.",
			cause: error,
		});
	}
}

/**
 * PEM certificates of the file at `path`, which `variable` names.
 *
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` when it cannot be read or holds no certificate: TLS would otherwise fail
 * later, with a message that names neither.
 */
export function readCaBundle(variable: string, path: string): string {
	const text = readCaFile(variable, path);
	const first =
		/-----BEGIN (?:TRUSTED )?CERTIFICATE-----[\s\S]*?-----END (?:TRUSTED )?CERTIFICATE-----/;
	const certificate = first.exec(text)?.[0];
	try {
		if (certificate === undefined) throw new Error("no BEGIN CERTIFICATE line");
		void new X509Certificate(certificate);
	} catch (error) {
		throw new HfStreamDcpError(
			"OPTIONS_INVALID",
			`${variable} names ${path}, which does not begin with a PEM certificate`,
			{ hint: `Point ${variable} at a file of PEM certificates, or unset it.`, cause: error },
		);
	}
	return text;
}

function readCaFile(variable: string, path: string): string {
	try {
		return readFileSync(path, "utf8");
	} catch (error) {
		throw new HfStreamDcpError(
			"OPTIONS_INVALID",
			`${variable} names ${path}, which cannot be read`,
			{ hint: `Correct or unset ${variable}.`, cause: error },
		);
	}
}

function isMissing(error: unknown): boolean {
	if (!(error instanceof Error) || !("code" in error)) return false;
	return error.code === "ENOENT" || error.code === "ENOTDIR";
}
