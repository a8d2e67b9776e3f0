import { inspectSource, moduleTree, parseConversionOptions, type Source } from "../../index.ts";
import type { FlagValues } from "../flags.ts";
import { formatBytes, plural } from "../format.ts";
import { watchInterrupts } from "../interrupt.ts";
import type { CliIo } from "../io.ts";
import { openProgress } from "../open-progress.ts";
import { renderSource, renderSourceFiles } from "../render-inspect.ts";
import { formatParams, renderTree } from "./render-tree.ts";
import { treeJson } from "./tree-json.ts";
import { sourceItems } from "./tree-items.ts";
import { belowModule, type View } from "./view.ts";

/** Shows what a model, on the Hub or in a directory, has; its headers are read. */
export async function showSource(
	io: CliIo,
	repo: string,
	view: View,
	values: FlagValues,
): Promise<void> {
	const options = parseConversionOptions({
		repo,
		revision: values["revision"],
		environment: io.env,
	});
	const progress = openProgress(io, values);
	using interrupts = watchInterrupts(io, { onFirst: () => progress.warn("stopping") });
	try {
		await using opened = await inspectSource({
			...options,
			signal: interrupts.signal,
			onEvent: progress.onEvent,
		});
		progress.stop();
		opened.warnings.forEach(progress.warn);
		io.stdout.write(`${textOf(io, opened.source, view)}\n`);
	} finally {
		progress.stop();
	}
}

function textOf(io: CliIo, whole: Source, view: View): string {
	const names = whole.tensors.map(({ name }) => name);
	const isShown = belowModule(view.module, names);
	const source = { ...whole, tensors: whole.tensors.filter(({ name }) => isShown(name)) };
	const { kind, limit, isJson, depth } = view;
	const tree = moduleTree(sourceItems(source.tensors));
	if (isJson) return treeJson(source, tree);
	if (kind === "flat") return renderSource(source, limit);
	if (kind === "files") return renderSourceFiles(source, limit);
	const { columns } = io.stdout;
	const at = source.commit === "local" ? "" : ` @ ${source.commit}`;
	const totals = [
		plural(source.tensors.length, "tensor"),
		`${formatParams(tree.params)} parameters`,
		plural(source.files.length, "file"),
		`${formatBytes(tree.bytes)} of weights`,
	].join(", ");
	return [`${source.repo}${at}`, renderTree(tree, { depth, columns, limit }), totals].join("\n\n");
}
