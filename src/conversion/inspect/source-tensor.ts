import { boxRuns } from "../../core/box-runs.ts";
import { type Box, wholeBox } from "../../core/box.ts";
import { itemBytes } from "../../core/dtype.ts";
import type { EventListener } from "../../core/events.ts";
import { source as sourceExpr } from "../../core/expr.ts";
import type { SourceTensor } from "../../core/source.ts";
import { readEnvironment } from "../../fetch/environment.ts";
import { type OpenedSource, openSource } from "../../fetch/open-source.ts";
import { DEFAULT_CONNECTIONS, DEFAULT_MEMORY_BYTES } from "../../options.ts";
import { measure } from "../../values/measure.ts";
import { selectBlock, selected, splitTensorText } from "../../values/selection.ts";
import { VERSION } from "../../version.ts";
import { unknownTensor } from "./find-tensor.ts";
import type { InspectedTensor, InspectTensorOptions, StoredPiece } from "./inspected-tensor.ts";

/** Opens a model to look at a tensor of it. What is received is told by who reads the tensor. */
export function openModel(
	repo: string,
	revision: string | undefined,
	options: InspectTensorOptions,
): Promise<OpenedSource> {
	const { environment, connections, signal, onEvent } = options;
	return openSource({
		repo,
		revision,
		environment: readEnvironment(environment ?? process.env, `hf-stream-dcp/${VERSION}`),
		connections: connections ?? DEFAULT_CONNECTIONS,
		signal,
		onEvent: withoutReceived(onEvent),
	});
}

function withoutReceived(onEvent: EventListener | undefined): EventListener | undefined {
	return onEvent && ((event) => void (event.kind === "received" || onEvent(event)));
}

/** Looks at a tensor of a model, local or on the Hub. */
export async function inspectSourceTensor(
	text: string,
	options: InspectTensorOptions,
): Promise<InspectedTensor> {
	const { target, revision, statistics, memoryBytes, signal, onEvent } = options;
	await using opened = await openModel(target, revision, options);
	const { source, bytes, kind } = opened;
	const named = new Map(source.tensors.map((one) => [one.name, one]));
	const { name, index } = splitTensorText(text, (whole) => named.has(whole));
	const tensor = named.get(name);
	if (tensor === undefined) {
		throw unknownTensor({ target, name, names: [...named.keys()], manifest: undefined });
	}
	const { dtype, shape } = tensor;
	const selection = selectBlock(shape, index);
	const expr = selected(sourceExpr(name, dtype, shape), selection);
	const values = await measure({
		tensor: { expr, source, bytes },
		statistics,
		memoryBytes: memoryBytes ?? DEFAULT_MEMORY_BYTES,
		signal,
		onEvent,
	});
	return {
		target: source.repo,
		kind,
		commit: source.commit,
		name,
		askedFor: undefined,
		dtype,
		shape,
		block: selection,
		chunk: undefined,
		stored: [placeOf(tensor, selection.box)],
		values,
		source: undefined,
	};
}

/** Where a block of a source tensor lies: its own bytes where they are one stretch, otherwise those of the tensor. */
export function placeOf(tensor: SourceTensor, box: Box): StoredPiece {
	const { dtype, shape, file, begin, end } = tensor;
	const runs = boxRuns(wholeBox(shape), box);
	const run = runs.next().value;
	const isOne = run !== undefined && runs.next().done === true;
	const dataBegin = isOne ? begin + run.start * itemBytes(dtype) : begin;
	const dataEnd = isOne ? dataBegin + run.length * itemBytes(dtype) : end;
	const length = dataEnd - dataBegin;
	return {
		chunk: undefined,
		box: isOne ? box : wholeBox(shape),
		file,
		offset: dataBegin,
		length,
		dataBegin,
		dataEnd,
	};
}
