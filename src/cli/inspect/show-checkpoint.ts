import { resolve } from "node:path";
import {
	HfStreamDcpError,
	inspectCheckpoint,
	isHfStreamDcpError,
	type Manifest,
	type ModuleNode,
	moduleTree,
	type ReadCheckpoint,
	readManifest,
} from "../../index.ts";
import { formatBytes, plural } from "../format.ts";
import type { CliIo } from "../io.ts";
import { renderCheckpoint, renderCheckpointFiles } from "../render-inspect.ts";
import { formatParams, renderTree } from "./render-tree.ts";
import { treeJson } from "./tree-json.ts";
import { checkpointItems } from "./tree-items.ts";
import { belowModule, type View } from "./view.ts";

/**
 * Shows a checkpoint on stdout.
 *
 * @throws {HfStreamDcpError} `CHECKPOINT_CORRUPT` after it was shown, when something is wrong with it.
 */
export async function showCheckpoint(io: CliIo, directory: string, view: View): Promise<void> {
	const whole = await inspectCheckpoint(resolve(directory));
	const { manifest, fault } = await tryManifest(resolve(directory));
	const names = [...whole.tensors, ...whole.objects].map(({ fqn }) => fqn);
	const isShown = belowModule(view.module, names);
	const checkpoint = {
		...whole,
		tensors: whole.tensors.filter(({ fqn }) => isShown(fqn)),
		objects: whole.objects.filter(({ fqn }) => isShown(fqn)),
	};
	io.stdout.write(`${textOf(io, directory, checkpoint, manifest, view)}\n`);
	const problems = fault === undefined ? whole.problems : [...whole.problems, fault];
	if (problems.length === 0) return;
	throw new HfStreamDcpError("CHECKPOINT_CORRUPT", `${directory}: ${problems.join("\n  ")}`, {
		hint: "Make it again; torch does not look for this, and would load something else than was saved.",
		facts: { directory, problems },
	});
}

/** A damaged manifest is told of after all else was shown. */
async function tryManifest(
	directory: string,
): Promise<{ readonly manifest?: Manifest | undefined; readonly fault?: string }> {
	try {
		return { manifest: await readManifest(directory) };
	} catch (error) {
		if (!isHfStreamDcpError(error, "CHECKPOINT_CORRUPT")) throw error;
		return { fault: error.message };
	}
}

function textOf(
	io: CliIo,
	directory: string,
	checkpoint: ReadCheckpoint,
	manifest: Manifest | undefined,
	view: View,
): string {
	const { kind, limit, isJson } = view;
	const tree = moduleTree(checkpointItems(checkpoint.tensors, checkpoint.objects));
	if (isJson) {
		const header = manifest && manifestHeader(manifest);
		return treeJson({ ...checkpoint, manifest: header }, tree);
	}
	if (kind === "flat") return renderCheckpoint(checkpoint, limit);
	if (kind === "files") return renderCheckpointFiles(checkpoint, limit);
	const header = [directory, ...(manifest === undefined ? [] : manifestLines(manifest))];
	const { columns } = io.stdout;
	const isWhole = checkpoint.files.every(({ isMissing }) => !isMissing);
	return [
		header.join("\n"),
		renderTree(tree, { depth: view.depth, columns, limit }),
		...(isWhole ? [] : [renderCheckpointFiles(checkpoint, limit)]),
		totalsOf(checkpoint, tree, view),
	].join("\n\n");
}

function totalsOf(
	{ tensors, objects, files, metadataBytes }: ReadCheckpoint,
	tree: ModuleNode,
	{ module }: View,
): string {
	const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
	const chunks = tensors.reduce((sum, { entries }) => sum + entries.length, 0);
	const sizes =
		module === undefined
			? [
					plural(files.length, "file"),
					`${formatBytes(total)}, .metadata ${formatBytes(metadataBytes)}`,
				]
			: [formatBytes(tree.bytes)];
	return [
		plural(tensors.length, "tensor"),
		`${formatParams(tree.params)} parameters`,
		plural(chunks, "chunk"),
		...(objects.length > 0 ? [plural(objects.length, "other object")] : []),
		...sizes,
	].join(", ");
}

/** What a manifest says of the whole checkpoint. */
export interface ManifestHeader {
	readonly tool: string;
	readonly repo: string;
	readonly commit: string;
	readonly family: string;
	readonly target: string;
	/** One line for people. */
	readonly layout: string;
	readonly planId: string;
	/** ISO 8601. */
	readonly ended: string;
}

function manifestHeader(manifest: Manifest): ManifestHeader {
	const { tool, source, family, target, layout, planId, summary } = manifest;
	const { repo, commit } = source;
	const { ended } = summary;
	return { tool, repo, commit, family, target, layout: layout.description, planId, ended };
}

function manifestLines(manifest: Manifest): string[] {
	const { tool, repo, commit, family, target, layout, ended } = manifestHeader(manifest);
	return [
		`made of ${repo}${commit === "local" ? "" : ` @ ${commit.slice(0, 12)}`}, ${family} as ${target}`,
		`for ${layout}, ${ended.slice(0, 16).replace("T", " ")} UTC, by hf-stream-dcp ${tool}`,
	];
}
