import type { CheckpointIndex, CheckpointTensor } from "../core/checkpoint.ts";
import { DTYPES, type Dtype } from "../core/dtype.ts";
import { formatShape, type Shape, shapesEqual } from "../core/shape.ts";
import { reasonOfForeign } from "../models/foreign-keys.ts";
import { finding, plural } from "./findings.ts";
import type { ExpectedTensor, LintFinding, Trainer } from "./types.ts";

/** Says what the keys of the checkpoint are, when they are not the trainer's: `the keys are those of --target torchtitan@2026-06`. */
export type ExplainKeys = (missing: readonly string[]) => string | undefined;

/** A trainer's tensor beside the checkpoint's of that name. */
type Pair = readonly [expected: ExpectedTensor, stored: CheckpointTensor];

/** What a trainer's state dict and a checkpoint's keys say of one another. */
export function keyFindings(
	trainer: Trainer,
	{ objects }: CheckpointIndex,
	tensors: ReadonlyMap<string, CheckpointTensor>,
	explain: ExplainKeys,
): readonly LintFinding[] {
	const objectKeys = new Set(objects.map(({ fqn }) => fqn));
	const pairs: Pair[] = [];
	const missing: string[] = [];
	const replaced: string[] = [];
	for (const expected of trainer.tensors) {
		const stored = tensors.get(expected.fqn);
		if (stored !== undefined) pairs.push([expected, stored]);
		else if (objectKeys.has(expected.fqn)) replaced.push(expected.fqn);
		else missing.push(expected.fqn);
	}
	missing.push(...trainer.objects.filter((key) => !objectKeys.has(key) && !tensors.has(key)));
	return [
		...missingFindings(missing, explain),
		...shapeFindings(pairs),
		...objectFindings(
			replaced,
			trainer.objects.filter((key) => tensors.has(key)),
		),
		...dtypeFindings(pairs),
		...extraFindings(trainer, [...tensors.keys(), ...objectKeys]),
	];
}

function missingFindings(missing: readonly string[], explain: ExplainKeys): readonly LintFinding[] {
	const sorted = missing.toSorted();
	const [first = ""] = sorted;
	return finding({
		kind: "missing",
		severity: "error",
		message: `the checkpoint lacks ${plural(missing.length, "key")} of the trainer`,
		raises: `RuntimeError: Missing key in checkpoint state_dict: ${first}.`,
		hint:
			(missing.length === 0 ? undefined : explain(sorted)) ??
			"Make the checkpoint for the trainer's own keys, or load with DefaultLoadPlanner(allow_partial_load=True), which leaves them as they were initialised.",
		all: sorted,
	});
}

function shapeFindings(pairs: readonly Pair[]): readonly LintFinding[] {
	const wrong = pairs
		.filter(([expected, stored]) => !shapesEqual(expected.shape, stored.shape))
		.toSorted(([a], [b]) => (a.fqn < b.fqn ? -1 : 1));
	const [first] = wrong;
	return finding({
		kind: "shape",
		severity: "error",
		message: `${plural(wrong.length, "tensor")} of the checkpoint ${wrong.length === 1 ? "has" : "have"} another shape than the trainer's`,
		raises:
			first === undefined
				? undefined
				: `ValueError: Size mismatch between saved ${torchSize(first[1].shape)} and current: ${torchSize(first[0].shape)} for ${first[0].fqn}`,
		hint: "The trainer's configuration is of another model, or of another size of it: compare its flavor with the checkpoint.",
		all: wrong.map(
			([{ fqn, shape }, stored]) =>
				`${fqn} is ${formatShape(stored.shape)}, the trainer's ${formatShape(shape)}`,
		),
	});
}

function torchSize(shape: Shape): string {
	return `torch.Size([${shape.join(", ")}])`;
}

function objectFindings(
	replaced: readonly string[],
	refused: readonly string[],
): readonly LintFinding[] {
	return [
		...finding({
			kind: "object",
			severity: "error",
			message: `${plural(replaced.length, "key")} ${replaced.length === 1 ? "is a tensor" : "are tensors"} for the trainer and a pickled object in the checkpoint; torch puts the object in the tensor's place`,
			raises: undefined,
			hint: "Save these as tensors.",
			all: replaced.toSorted(),
		}),
		...finding({
			kind: "object",
			severity: "error",
			message: `${plural(refused.length, "key")} ${refused.length === 1 ? "is an object" : "are objects"} for the trainer and a tensor in the checkpoint`,
			raises: `ValueError: Invalid checkpoint metadata for ${refused.toSorted()[0] ?? ""}, expected BytesStorageMetadata`,
			hint: "Take these keys out of the state dict that is loaded, or save them as the trainer has them.",
			all: refused.toSorted(),
		}),
	];
}

/** Casts that keep every value. */
const WIDER: { readonly [D in Dtype]?: readonly Dtype[] } = {
	bfloat16: ["float32", "float64"],
	float16: ["float32", "float64"],
	float32: ["float64"],
	float8_e4m3fn: ["bfloat16", "float16", "float32", "float64"],
	float8_e5m2: ["bfloat16", "float16", "float32", "float64"],
	uint8: ["int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"],
	int8: ["int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"],
	int16: ["int32", "int64", "float32", "float64"],
	int32: ["int64", "float64"],
};

/** What torch makes of a stored tensor for a trainer that has another dtype. */
interface Cast {
	readonly fqn: string;
	readonly from: Dtype;
	readonly to: Dtype;
}

function sentences(list: readonly Cast[]): string[] {
	return list.map(({ fqn, from, to }) => `${fqn}: ${from} → ${to}`).toSorted();
}

function isExact({ from, to }: Cast): boolean {
	return WIDER[from]?.includes(to) === true;
}

function dtypeFindings(pairs: readonly Pair[]): readonly LintFinding[] {
	const cast = pairs.flatMap(([{ fqn, dtype }, stored]): Cast[] =>
		dtype === undefined || dtype === stored.dtype ? [] : [{ fqn, from: stored.dtype, to: dtype }],
	);
	const lossy = cast.filter((one) => !isExact(one));
	const exact = cast.filter(isExact);
	return [
		...finding({
			kind: "dtype",
			severity: "warning",
			message: `torch casts ${plural(lossy.length, "tensor")} without a word, and the values change`,
			raises: undefined,
			hint: lossy.some(({ from, to }) => !DTYPES[from].isFloat || !DTYPES[to].isFloat)
				? "Values are truncated, or lose their meaning: store these in the trainer's dtype."
				: "Values are rounded, and may become infinite: give the trainer the dtype of the checkpoint, or convert with --dtype.",
			all: sentences(lossy),
		}),
		...finding({
			kind: "dtype",
			severity: "note",
			message: `torch casts ${plural(exact.length, "tensor")} to a dtype that holds all of their values`,
			raises: undefined,
			hint: "",
			all: sentences(exact),
		}),
	];
}

function extraFindings(trainer: Trainer, keys: readonly string[]): readonly LintFinding[] {
	const wanted = new Set([...trainer.tensors.map(({ fqn }) => fqn), ...trainer.objects]);
	const byReason = new Map<string, string[]>();
	for (const key of keys) {
		if (wanted.has(key)) continue;
		const reason = reasonOfForeign(key) ?? "";
		byReason.set(reason, [...(byReason.get(reason) ?? []), key]);
	}
	return [...byReason].flatMap(([reason, all]) =>
		finding({
			kind: "extra",
			severity: "note",
			message:
				reason === ""
					? `the trainer does not ask for ${plural(all.length, "key")} of the checkpoint; torch ignores ${all.length === 1 ? "it" : "them"}`
					: `${plural(all.length, "key")} ${all.length === 1 ? "is" : "are"} ${reason}, and not read`,
			raises: undefined,
			hint: "",
			all,
		}),
	);
}
