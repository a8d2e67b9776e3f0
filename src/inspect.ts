import { type HubEnvironment, readEnvironment } from "./fetch/environment.ts";
import { type OpenedSource, openSource } from "./fetch/open-source.ts";
import { readCheckpoint, type ReadCheckpoint } from "./dcp/checkpoint-reader.ts";
import { VERSION } from "./version.ts";
import { DEFAULT_CONNECTIONS, type ConversionOptions, type Environment } from "./options.ts";

/**
 * What the environment variables say to this program.
 *
 * @param environment - @default process.env
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` when one cannot be used.
 */
export function hubEnvironmentOf(environment: Environment | undefined): HubEnvironment {
	return readEnvironment(environment ?? process.env, `hf-stream-dcp/${VERSION}`);
}

/**
 * Reads the `.metadata` of any DCP directory, ours or torch's. No pickle is executed.
 *
 * @throws {HfStreamDcpError} `CHECKPOINT_CORRUPT` or `SOURCE_UNREADABLE` when it cannot be understood or read.
 */
export function inspectCheckpoint(directory: string): Promise<ReadCheckpoint> {
	return readCheckpoint(directory);
}

/**
 * Reads the safetensors headers of a repository or local directory, without a weight byte. Dispose of the result.
 *
 * @throws {HfStreamDcpError} every error of a source; see `docs/errors.md`.
 */
export function inspectSource(
	options: Pick<ConversionOptions, "repo"> &
		Partial<
			Pick<ConversionOptions, "revision" | "environment" | "connections" | "signal" | "onEvent">
		>,
): Promise<OpenedSource> {
	return openSource({
		repo: options.repo,
		revision: options.revision,
		environment: hubEnvironmentOf(options.environment),
		connections: options.connections ?? DEFAULT_CONNECTIONS,
		signal: options.signal,
		onEvent: options.onEvent,
	});
}
