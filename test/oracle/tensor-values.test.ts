import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { torchText } from "../../src/cli/torch-text.ts";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.ts";
import type { Dtype } from "../../src/core/dtype.ts";
import { type Expr, source } from "../../src/core/expr.ts";
import type { ByteSource } from "../../src/core/ports.ts";
import type { Source } from "../../src/core/source.ts";
import { inspectSource, type TensorStatistics } from "../../src/index.ts";
import { measure } from "../../src/values/measure.ts";
import { selectBlock, selected } from "../../src/values/selection.ts";
import { findPython } from "../support/python.ts";
import { createRandom } from "../support/random.ts";
import { safetensorsOf, valueCases } from "../support/value-cases.ts";

const search = findPython(["torch"]);
const skip = "skip" in search ? search.skip : undefined;
const FIXTURES = join(import.meta.dirname, "../fixtures/dcp");

type Case = readonly [name: string, index: string | null, precision: number];

interface Answer {
	readonly shape: readonly number[];
	readonly dtype: string;
	readonly statistics: { readonly [K in keyof TensorStatistics]: number | string | null };
	readonly text: string;
}

/** What torch is asked of a safetensors file or a checkpoint. */
interface Job {
	readonly path: string;
	readonly cases: readonly Case[];
}

/** One Python for all: torch takes seconds to be imported. */
function askTorch(jobs: readonly Job[]): Answer[][] {
	const script = join(import.meta.dirname, "tensor_values.py");
	const { stdout, stderr, status } = spawnSync("python" in search ? search.python : "", [script], {
		input: JSON.stringify(jobs),
		encoding: "utf8",
		maxBuffer: 2 ** 28,
	});
	if (status !== 0) throw new Error(stderr);
	return JSON.parse(stdout) as Answer[][];
}

/** What differs between ours and torch's, in words; numbers that torch adds up may differ by rounding. */
function differences(dtype: Dtype, ours: TensorStatistics, theirs: Answer["statistics"]): string[] {
	const spread = Number(theirs.std ?? 0) + Math.abs(Number(theirs.mean ?? 0));
	return (Object.keys(theirs) as (keyof TensorStatistics)[]).flatMap((key) => {
		const [own, other] = [ours[key] ?? null, theirs[key]];
		// The magnitude of a complex number is rounded as well.
		const isSummed = key === "mean" || key === "std" || dtype === "complex64";
		const isNear =
			isSummed && own !== null && other !== null
				? Math.abs(Number(own) - Number(other)) <= 1e-12 * spread
				: typeof own === "bigint"
					? String(own) === other
					: own === other ||
						String(own) === other ||
						(other !== null && Number(own) === Number(other));
		return isNear ? [] : [`${key}: ${String(own)}, not ${String(other)}`];
	});
}

/** Tensors that are open: what inspects them, without opening them again for each. */
interface OpenTensors {
	readonly source: Source;
	readonly bytes: ByteSource;
	exprOf(name: string): Expr;
}

async function compare(
	opened: OpenTensors,
	cases: readonly Case[],
	answers: readonly Answer[] | undefined,
): Promise<void> {
	expect(answers).toHaveLength(cases.length);
	const wrong: string[] = [];
	for (const [i, [name, index, precision]] of cases.entries()) {
		const whole = opened.exprOf(name);
		const expr = selected(whole, selectBlock(whole.shape, index ?? undefined));
		const tensor = { ...opened, expr };
		const { statistics: ours, shown } = await measure({
			tensor,
			memoryBytes: 2 ** 24,
			simd: false,
		});
		const { shape, dtype, statistics, text } = answers![i]!;
		const what = `${name}[${index ?? ""}]`;
		if (expr.shape.join() !== shape.join())
			wrong.push(`${what}: [${expr.shape.join()}], not [${shape.join()}]`);
		if (expr.dtype !== dtype) wrong.push(`${what}: ${expr.dtype}, not ${dtype}`);
		wrong.push(...differences(expr.dtype, ours!, statistics).map((one) => `${what}: ${one}`));
		const isExponent = expr.dtype === "float8_e8m0fnu";
		const printed = torchText(isExponent ? "float32" : expr.dtype, shown, { precision });
		if (printed !== text) wrong.push(`${what}:\n${printed}\nnot\n${text}`);
	}
	expect(wrong.length, wrong.slice(0, 5).join("\n")).toBe(0);
}

/** Indices of tensors with these many axes, as Python takes them. */
const INDICES = [
	"...",
	"-1",
	":2",
	"-2:",
	"1:-1",
	"0, ...",
	"..., 0",
	"..., -3:",
	":, 1",
	"0:4, :, -1",
	"1:1",
	"5:2",
	"-100:100",
	"0, 0",
];

describe.skipIf(skip !== undefined)(`values against torch${skip ? ` (${skip})` : ""}`, () => {
	let folder: string;
	let answers: readonly Answer[][];
	const random = createRandom(11);
	const tensors = valueCases();
	const whole = tensors.map(({ name }): Case => [name, null, random.pick([4, 4, 0, 2, 8])]);
	const sliced = tensors
		.filter(({ name }) => /^(bfloat16|int64|bool|complex64)\/bits\//.test(name))
		.flatMap(({ name, shape }) => slicesOf(name, shape));
	const models = new Map<string, { opened: OpenTensors & AsyncDisposable; cases: Case[] }>();

	beforeAll(async () => {
		folder = mkdtempSync(join(tmpdir(), "hf-stream-dcp-values-"));
		const file = join(folder, "model.safetensors");
		writeFileSync(file, safetensorsOf(tensors));
		const exprs = new Map(
			tensors.map(({ name, dtype, shape }) => [name, source(name, dtype, shape)]),
		);
		const model = await inspectSource({ repo: folder, environment: {} });
		models.set(file, {
			opened: { ...model, exprOf: (name) => exprs.get(name)! },
			cases: [...whole, ...sliced],
		});
		for (const name of ["real_small", "real_mp8_fsdp_tp_ep"]) {
			const directory = join(FIXTURES, name);
			const opened = await openCheckpoint({ directory });
			const cases = opened.checkpoint.tensors.flatMap(({ fqn, shape }): Case[] => [
				[fqn, null, 4],
				...slicesOf(fqn, shape),
			]);
			models.set(directory, {
				opened: { ...opened, exprOf: (fqn) => opened.exprs.get(fqn)! },
				cases,
			});
		}
		answers = askTorch([...models].map(([path, { cases }]) => ({ path, cases })));
	}, 120_000);

	afterAll(async () => {
		for (const { opened } of models.values()) await opened[Symbol.asyncDispose]();
		rmSync(folder, { recursive: true });
	});

	test.each([
		[0, "every dtype, of random bits and special values, whole and sliced"],
		[1, "every tensor of a checkpoint that torch saved"],
		[2, "every tensor of a checkpoint that eight ranks saved"],
	])("statistics and text, %i: %s", async (number) => {
		const { opened, cases } = [...models.values()][number]!;
		expect(cases.length).toBeGreaterThan(10);
		await compare(opened, cases, answers[number]);
	});
});

function slicesOf(name: string, shape: readonly number[]): Case[] {
	return INDICES.filter((index) => isPossible(shape, index)).map((index): Case => [name, index, 4]);
}

/** Whether Python takes an index of these for a shape. */
function isPossible(shape: readonly number[], index: string): boolean {
	const items = index.split(", ");
	const named = items.filter((item) => item !== "...");
	if (named.length > shape.length) return false;
	if (items.length === 1 && named.length === 1 && shape.length === 0) return false;
	const rest = shape.length - named.length;
	const axes = items.flatMap((item) => (item === "..." ? Array<string>(rest).fill(":") : [item]));
	return axes.every(
		(item, axis) => !/^-?\d+$/.test(item) || (shape[axis] ?? 0) > Number(item.replace("-1", "0")),
	);
}
