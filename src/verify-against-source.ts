import { resolve } from "node:path";
import { HfStreamDcpError } from "./core/errors.ts";
import { hubEnvironmentOf } from "./inspect.ts";
import { MANIFEST_NAME } from "./manifest/manifest.ts";
import { readManifest } from "./manifest/read.ts";
import { parseSize } from "./option-fields.ts";
import { DEFAULT_CONNECTIONS, DEFAULT_MEMORY_BYTES, type Environment } from "./options.ts";
import { compareWithSource, type SourceComparison } from "./verify/against-source.ts";
import type { SampleSize } from "./verify/sample.ts";
import type { ComparisonOptions } from "./verify-against-checkpoint.ts";

/** How much of a source is looked at when nothing is said: one byte of a hundred, and every kind of recipe. */
export const DEFAULT_SAMPLE = "1%";

/** What {@link verifyAgainstSource} looks at, and how. */
export interface VerifyAgainstSourceOptions extends ComparisonOptions {
	/** Where the source is now, `org/name` or a directory, if it moved. @default where the manifest says */
	readonly source?: string | undefined;
	/** How much of the source: `all`, a part such as `1%`, or a size such as `5GB`. At least one tile of every kind of recipe. @default "1%" */
	readonly sample?: string | undefined;
	/** Chooses the sample: a whole number below 2^32. @default a random one, which the result tells */
	readonly seed?: number | undefined;
	/** Most connections to one origin. @default 16 */
	readonly connections?: number | undefined;
	/** Where tokens, proxies, the cache and the endpoint are looked up. @default process.env */
	readonly environment?: Environment | undefined;
}

/**
 * Proves a checkpoint that this program wrote against its source: opens it at the commit that the manifest names, checks that its headers
 * are the same, makes a sample of the stored bytes, or all, once more through the recipes, and compares them bit for bit.
 *
 * @returns What was found; `problems` is empty when nothing is wrong.
 * @throws {HfStreamDcpError} `CHECKPOINT_CORRUPT` without a manifest that can be read; `SOURCE_CHANGED` when the source is no longer what
 * the manifest names; `OPTIONS_INVALID`; every error of a source.
 */
export async function verifyAgainstSource(
	options: VerifyAgainstSourceOptions,
): Promise<SourceComparison> {
	const { source, signal, onEvent, seed = randomSeed() } = options;
	const sample = readSample(options.sample ?? DEFAULT_SAMPLE);
	if (!Number.isInteger(seed) || seed < 0 || seed >= SEEDS) {
		throw new HfStreamDcpError("OPTIONS_INVALID", `seed: expected a whole number below 2^32`);
	}
	const directory = resolve(options.directory);
	const manifest = await readManifest(directory);
	if (manifest === undefined) {
		throw new HfStreamDcpError(
			"CHECKPOINT_CORRUPT",
			`${directory} has no ${MANIFEST_NAME}, which says what its tensors were made of`,
			{
				hint: "Only checkpoints that this program wrote can be compared with their source. Convert the model again, and compare the two checkpoints: verify --against.",
				facts: { directory },
			},
		);
	}
	return compareWithSource({
		directory,
		manifest,
		source,
		sample,
		seed,
		environment: hubEnvironmentOf(options.environment),
		connections: options.connections ?? DEFAULT_CONNECTIONS,
		memoryBytes: options.memoryBytes ?? DEFAULT_MEMORY_BYTES,
		signal,
		onEvent,
	});
}

const SEEDS = 2 ** 32;

function randomSeed(): number {
	return Math.floor(Math.random() * SEEDS);
}

function readSample(text: string): SampleSize {
	const trimmed = text.trim();
	if (trimmed === "all") return "all";
	const percent = /^(\d+(?:\.\d+)?)\s*%$/.exec(trimmed)?.[1];
	const part = Number(percent) / 100;
	if (percent !== undefined && part > 0 && part <= 1) return { part };
	const bytes = percent === undefined ? parseSize(trimmed) : undefined;
	if (bytes !== undefined && bytes > 0) return { bytes };
	throw new HfStreamDcpError(
		"OPTIONS_INVALID",
		`sample: expected all, a part such as 1%, or a size such as 5GB, got ${JSON.stringify(text)}`,
	);
}
