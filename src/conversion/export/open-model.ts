import { isAbsolute } from "node:path";
import { stat } from "node:fs/promises";
import { HfStreamDcpError } from "../../core/errors.ts";
import { shapesEqual } from "../../core/shape.ts";
import type { Source } from "../../core/source.ts";
import { saysTheSame } from "../../export/companion-files.ts";
import type { ExportOptions } from "../../export-options.ts";
import { openCacheSnapshot } from "../../fetch/cache-snapshot.ts";
import { listDirectory } from "../../fetch/directory-files.ts";
import { createHubSession } from "../../fetch/hub-session.ts";
import { hubFiles, type OpenedSource, type SourceBeside } from "../../fetch/open-source.ts";
import { hubEnvironmentOf, inspectSource } from "../../inspect.ts";
import type { Manifest } from "../../manifest/manifest.ts";

/**
 * Opens the model that an export asks for: what was given, or, to fill in what the checkpoint has nothing of, where the manifest says that
 * it was.
 *
 * @returns `undefined` when none is needed. The caller disposes of it.
 * @throws {HfStreamDcpError} every error of a source.
 */
export async function openModel(
	options: ExportOptions,
	manifest: Manifest | undefined,
): Promise<OpenedSource | undefined> {
	const { model, revision, fill } = options;
	if (model !== undefined) return inspectSource({ ...options, repo: model, revision });
	if (!fill || manifest === undefined) return undefined;
	const { repo, commit } = manifest.source;
	return inspectSource({
		...options,
		repo,
		revision: commit === "local" || isAbsolute(repo) ? undefined : commit,
	});
}

/**
 * Makes sure that tensors which are taken from `found` are those that the checkpoint was not made of.
 *
 * @throws {HfStreamDcpError} `SOURCE_CHANGED`
 */
export function assertSameModel(found: Source, expected: Source): void {
	const tensors = new Map(found.tensors.map((tensor) => [tensor.name, tensor]));
	const other = expected.tensors.find(({ name, dtype, shape }) => {
		const one = tensors.get(name);
		return one?.dtype !== dtype || !shapesEqual(one.shape, shape);
	});
	if (other === undefined) return;
	throw new HfStreamDcpError(
		"SOURCE_CHANGED",
		`${found.repo} is not the model that the checkpoint was made of: ${other.name} is missing or has another shape or dtype there`,
		{
			hint: `It was made of ${expected.repo} at ${expected.commit}; give that as --model, with its --revision.`,
			facts: { tensor: other.name, repo: found.repo },
		},
	);
}

/** Small files, and what to close when they are read. */
export interface OpenedBeside extends AsyncDisposable {
	readonly beside: SourceBeside;
}

/**
 * The small files of the model that a manifest names: in its directory, in the Hub's cache, or at the Hub, at the same commit.
 *
 * @returns `undefined` when the model was a directory that is not here, or is another model by now.
 * @throws {HfStreamDcpError} as the Hub.
 */
export async function openBeside(
	{ source }: Manifest,
	options: ExportOptions,
): Promise<OpenedBeside | undefined> {
	const { repo, commit, files, config } = source;
	const first = files[0]?.path ?? "";
	const folder = first.slice(0, first.lastIndexOf("/") + 1);
	if (!isAbsolute(repo)) return openHubFiles(source, folder, options);
	const isThere = await stat(repo).then(
		(facts) => facts.isDirectory(),
		() => false,
	);
	if (!isThere) return undefined;
	const found = await listDirectory(repo, repo);
	const path = `${folder}config.json`;
	if ((await found.find(path)) === undefined) return undefined;
	// A directory may hold another model by now, unless it is the snapshot of a commit.
	const isSame =
		commit !== "local" || saysTheSame(await found.read(path, MAX_CONFIG_BYTES), config);
	if (!isSame) return undefined;
	return { beside: { files: found, folder }, [Symbol.asyncDispose]: () => Promise.resolve() };
}

/** Largest `config.json` that is looked at. */
const MAX_CONFIG_BYTES = 16 * 1024 * 1024;

async function openHubFiles(
	{ repo, commit }: Source,
	folder: string,
	{ environment: variables, connections, signal, onEvent }: ExportOptions,
): Promise<OpenedBeside> {
	const environment = hubEnvironmentOf(variables);
	const snapshot = await openCacheSnapshot(environment.cacheDir, repo, commit);
	// What is in the cache is what somebody once asked for: weights alone, perhaps.
	const isEnough = (await snapshot?.files.find("tokenizer_config.json")) !== undefined;
	if (snapshot !== undefined && (isEnough || environment.offline)) {
		return {
			beside: { files: snapshot.files, folder },
			[Symbol.asyncDispose]: () => Promise.resolve(),
		};
	}
	const session = createHubSession(environment, { connections, signal, onEvent });
	try {
		const list = await session.list(repo, commit);
		const files = hubFiles(session, repo, commit, list, snapshot);
		return {
			beside: { files, folder },
			[Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
		};
	} catch (error) {
		await session[Symbol.asyncDispose]();
		throw error;
	}
}
