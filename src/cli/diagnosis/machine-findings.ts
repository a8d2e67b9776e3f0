import type { Diagnosis } from "../../index.ts";
import { formatBytes, formatMemory, plural } from "../format.ts";
import type { Finding, FindingState } from "./finding.ts";

type MachineFacts = Diagnosis["machine"];

function finding(state: FindingState, text: string, hint?: string): Finding {
	return { area: "machine", state, text, hint };
}

/** What the facts of a machine mean for a conversion. */
export function machineFindings(facts: MachineFacts): readonly Finding[] {
	return [
		system(facts),
		threads(facts),
		facts.checksums === "native"
			? finding("ok", "CRC-32: native (@node-rs/crc32)")
			: finding(
					"note",
					"CRC-32: Node's zlib; the native package @node-rs/crc32 is two to four times as fast",
					"Install this package again without --omit=optional.",
				),
		directory(facts),
		hub(facts),
	];
}

function system({ node, platform, arch, glibc }: MachineFacts): Finding {
	const library =
		platform === "linux" ? `, ${glibc === undefined ? "no glibc" : `glibc ${glibc}`}` : "";
	return finding("ok", `Node ${node} on ${platform} ${arch}${library}`);
}

function threads(facts: MachineFacts): Finding {
	const { cores, memoryBytes, threads: count, threadMemoryBytes } = facts;
	const each = formatMemory(threadMemoryBytes);
	return finding(
		"ok",
		`${plural(cores, "core")}, ${formatMemory(memoryBytes)} of memory: at most ${plural(count, "thread")} of ${each}, unless --threads says otherwise`,
	);
}

function directory({ directory: seen }: MachineFacts): Finding {
	const { path, isWritable, writeMode, freeBytes } = seen;
	if (writeMode === undefined) {
		return finding("note", `${path}: not there yet, so that nothing is known of its disk`);
	}
	if (isWritable === false) return finding("problem", `${path}: this user may not write there`);
	const free = freeBytes === undefined ? "" : `, ${formatBytes(freeBytes)} free`;
	return writeMode === "direct"
		? finding("ok", `${path}: written past the page cache (O_DIRECT)${free}`)
		: finding(
				"note",
				`${path}: written through the page cache, as O_DIRECT does not work there${free}`,
			);
}

function hub({ hub: { hasToken, endpoint, offline, problem } }: MachineFacts): Finding {
	if (problem !== undefined)
		return finding("problem", problem, "Correct it, or unset the variable.");
	if (offline) return finding("note", "Hub: offline, only directories and the cache are sources");
	const where = `Hub ${endpoint}`;
	return hasToken
		? finding("ok", `${where}: there is a token`)
		: finding(
				"note",
				`${where}: no token; gated and private models need one, and without one the Hub's limits are lower`,
				"Set HF_TOKEN, or run `hf auth login`.",
			);
}
