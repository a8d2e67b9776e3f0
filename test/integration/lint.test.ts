import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { main } from "../../src/cli/main.ts";
import { readCheckpointIndex } from "../../src/dcp/checkpoint-reader.ts";
import { encodeMetadata } from "../../src/dcp/metadata-writer.ts";
import { convert, type LintReport, parseConvertOptions } from "../../src/index.ts";
import { createFakeIo } from "../support/cli-io.ts";
import { writeModel } from "../support/model-directory.ts";
import { smallLlama3, smallQwen3 } from "../support/model-sources.ts";

let folder: string;
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), "hf-stream-dcp-lint-"));
	await writeModel(at("llama"), smallLlama3());
	await writeModel(at("qwen"), smallQwen3());
	const parallelism = { dpShard: 4, tp: 2 };
	const target = "torchtitan@2026-06";
	await convert(parseConvertOptions({ repo: at("llama"), out: at("made"), target, parallelism }));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function lint(directory: string, ...flags: readonly string[]) {
	const io = createFakeIo();
	const code = await main(["lint", directory, ...flags], io);
	return { code, out: io.out(), err: io.takeErr() };
}

async function report(directory: string, ...flags: readonly string[]) {
	const { code, out } = await lint(directory, "--json", ...flags);
	return { code, ...(JSON.parse(out) as LintReport) };
}

/** `error missing`, of each finding. */
function kinds({ findings }: LintReport): readonly string[] {
	return findings.map(({ severity, kind }) => `${severity} ${kind}`);
}

test("its own mesh is the manifest's: every rank reads what it holds and no more", async () => {
	const found = await report(at("made"));
	expect(found.code).toBe(0);
	expect(kinds(found)).toEqual([]);
	expect(found.trainer).toMatchObject({
		keys: "manifest",
		target: "torchtitan@2026-06",
		worldSize: 8,
	});
	const { tensors } = await readCheckpointIndex(at("made"));
	for (const { dataBytes, neededBytes, entries, files } of found.costs!.ranks) {
		expect(dataBytes).toBe(neededBytes);
		expect(entries).toBe(tensors.length);
		expect(files).toBeLessThanOrEqual(8);
	}
	expect(found.costs!.total.metadataBytes).toBe(8 * found.checkpoint.metadataBytes);
	expect(found.costs!.tensors).toBeUndefined();
});

test("the same mesh by flags, by a layout of its own, and without the manifest", async () => {
	const { costs } = await report(at("made"));
	expect((await report(at("made"), "--dp-shard", "4", "--tp", "2")).costs).toEqual(costs);
	expect(
		(await report(at("made"), "--parallelism.tensor-parallel-degree=2", "--world-size=8")).costs,
	).toEqual(costs);
	expect(
		(
			await report(
				at("made"),
				"--model",
				at("llama"),
				"--target",
				"torchtitan@2026-06",
				"--dp-shard=4",
				"--tp=2",
			)
		).costs,
	).toEqual(costs);
	const like = await report(at("made"), "--like", at("made"));
	expect(like.trainer).toMatchObject({ keys: "like", worldSize: 8 });
	// A checkpoint does not say who holds what is replicated, so that every rank is taken to.
	expect(like.costs!.total.neededBytes).toBeGreaterThan(costs!.total.neededBytes);
	const alone = at("alone");
	await cp(at("made"), alone, { recursive: true });
	await rm(join(alone, "hf-stream-dcp.json"));
	const stored = await report(alone);
	expect(stored.trainer).toMatchObject({ keys: "checkpoint", worldSize: 8 });
	expect(stored.costs).toEqual(like.costs);
});

test("another mesh costs more, and is refused where it may not", async () => {
	const found = await report(at("made"), "--dp-shard", "3");
	expect([found.code, found.isFit]).toEqual([0, true]);
	expect(found.costs!.perRank.dataBytes.max).toBeGreaterThan(found.costs!.perRank.neededBytes.max);
	const strict = await report(at("made"), "--dp-shard", "3", "--max-amplification", "1.5");
	expect([strict.code, kinds(strict)]).toEqual([6, ["error waste"]]);
	const { out, err } = await lint(at("made"), "--dp-shard=3", "--max-amplification=1.5");
	expect(out).toContain("job: fsdp 3 (3 ranks)");
	expect(out).toContain("error (waste): 3 of 3 ranks read more than 1.5 times what they need");
	expect(err).toMatch(/^error: .*ranks read more than/);
});

test("one rank, tensor by tensor: the tensors make up the rank", async () => {
	const { costs } = await report(at("made"), "--dp-shard", "3", "--rank", "2");
	const [rank, tensors] = [costs!.ranks[2]!, costs!.tensors!];
	const sum = (pick: (cost: (typeof tensors)[number]) => number): number =>
		tensors.reduce((total, cost) => total + pick(cost), 0);
	expect(sum(({ readBytes }) => readBytes)).toBe(rank.readBytes);
	expect(sum(({ neededBytes }) => neededBytes)).toBe(rank.neededBytes);
	expect(sum(({ entries }) => entries)).toBe(rank.entries);
	expect((await lint(at("made"), "--dp-shard=3", "--rank=2")).out).toContain(
		"tok_embeddings.weight",
	);
});

test("a mesh that the model does not fit", async () => {
	const found = await report(at("made"), "--tp", "3");
	expect([found.code, kinds(found), found.costs]).toEqual([6, ["error mesh"], undefined]);
	expect(found.findings[0]?.message).toContain("key-value heads");
	expect(found.findings[0]?.hint).toContain("Choose a tp");
	expect((await lint(at("made"), "--tp", "3")).out).not.toContain("more");
});

describe("keys", () => {
	test("of another release: says of which", async () => {
		const found = await report(at("made"), "--dp-shard=4", "--target", "torchtitan@2025-10");
		expect([found.code, kinds(found)]).toEqual([6, ["error missing", "note extra"]]);
		expect(found.findings[0]).toMatchObject({
			count: 13,
			raises: "RuntimeError: Missing key in checkpoint state_dict: layers.0.attention.wk.weight.",
			hint: expect.stringContaining("--target torchtitan@2026-06") as string,
		});
	});

	test("of Hugging Face, and of the model when there is no manifest", async () => {
		const hf = await report(at("made"), "--dp-shard=4", "--target", "hf");
		expect([hf.code, kinds(hf)[0], hf.trainer?.target]).toEqual([6, "error missing", "hf"]);
		const alone = await report(at("alone"), "--model", at("llama"), "--target", "hf");
		expect(alone.findings[0]?.hint).toMatch(/--target torchtitan@2026-/);
	});

	test("of another model", async () => {
		const found = await report(at("made"), "--model", at("qwen"), "--target", "torchtitan@2026-06");
		expect(kinds(found)).toEqual(["error missing"]);
		expect(found.findings[0]?.examples[0]).toBe("layers.0.attention.k_norm.weight");
		expect(found.findings[0]?.hint).toContain("allow_partial_load");
	});

	test("under a prefix: where it is given, and where it is not", async () => {
		const { tensors } = await readCheckpointIndex(at("made"));
		const nested = at("nested");
		await cp(at("alone"), nested, { recursive: true });
		const named = tensors.map((tensor) => {
			const fqn = `model.${tensor.fqn}`;
			return { ...tensor, fqn, entries: tensor.entries.map((entry) => ({ ...entry, fqn })) };
		});
		await writeFile(join(nested, ".metadata"), encodeMetadata({ tensors: named, objects: [] }));
		const flags = [
			"--model",
			at("llama"),
			"--target",
			"torchtitan@2026-06",
			"--dp-shard=4",
			"--tp=2",
		];
		const plain = await report(nested, ...flags);
		expect([plain.code, kinds(plain)]).toEqual([6, ["error missing", "note extra"]]);
		expect(plain.findings[0]?.hint).toContain("--prefix model.");
		const prefixed = await report(nested, ...flags, "--prefix", "model.");
		const { ranks } = (await report(at("made"))).costs!;
		expect([prefixed.code, prefixed.costs?.ranks]).toEqual([0, ranks]);
	});
});

test("dtypes of the trainer", async () => {
	const found = await report(at("made"), "--dtype", "bfloat16");
	expect([found.code, kinds(found)]).toEqual([0, ["warning dtype"]]);
	expect(found.findings[0]).toMatchObject({ count: 39 });
});

test("a manifest of what was there before is not believed", async () => {
	const saved = at("saved over");
	await cp(at("made"), saved, { recursive: true });
	const { tensors } = await readCheckpointIndex(saved);
	const fewer = tensors.slice(1);
	await writeFile(join(saved, ".metadata"), encodeMetadata({ tensors: fewer, objects: [] }));
	expect((await report(saved)).trainer).toMatchObject({
		keys: "checkpoint",
		tensors: fewer.length,
	});
});

test("parts of a trainer's checkpoint that are not the model", async () => {
	const made = await readCheckpointIndex(at("made"));
	const trained = at("trained");
	await cp(at("alone"), trained, { recursive: true });
	const state = made.tensors.map((tensor) => {
		const fqn = `optimizer.state.${tensor.fqn}.exp_avg`;
		return { ...tensor, fqn, entries: tensor.entries.map((entry) => ({ ...entry, fqn })) };
	});
	const objects = [{ fqn: "train_state", file: "__0_0.distcp", offset: 0, length: 1000 }];
	await writeFile(
		join(trained, ".metadata"),
		encodeMetadata({ tensors: [...made.tensors, ...state], objects }),
	);
	const flags = [
		"--model",
		at("llama"),
		"--target",
		"torchtitan@2026-06",
		"--dp-shard=4",
		"--tp=2",
	];
	const found = await report(trained, ...flags);
	expect([found.code, found.costs]).toMatchObject([
		0,
		{ ranks: (await report(at("made"))).costs!.ranks },
	]);
	expect(found.findings.map(({ message }) => message)).toEqual([
		"39 keys are state of the optimizer, and not read",
		"1 key is state of the training loop, and not read",
	]);
});

test("large blocks of the file system are warned of, and counted", async () => {
	const [small, large] = await Promise.all([
		report(at("made")),
		report(at("made"), "--read-buffer", "1MiB"),
	]);
	expect(kinds(large)).toEqual(["warning buffer"]);
	expect(large.costs!.total.readBytes).toBeGreaterThan(small.costs!.total.readBytes);
});

test.each([
	[2, ["--rank", "8"], "there is no rank 8 in a job of 8"],
	[2, ["--max-amplification", "0.5"], "--max-amplification: expected a number of at least 1"],
	[2, ["--tp", "2", "--like", "."], "leave out every setting of the mesh"],
	[2, ["--like", ".", "--prefix", "model."], "has its keys already"],
	[2, ["--target", "torchtitan@1999"], "there is no target"],
	[2, ["--dp-shard", "x"], "--dp-shard: expected a whole number"],
])("exit %i: %j", async (exit, flags, message) => {
	const given = flags.map((flag) => (flag === "." ? at("made") : flag));
	const { code, out, err } = await lint(at("made"), ...given);
	expect([code, out]).toEqual([exit, ""]);
	expect(err).toContain(message);
});

test("no checkpoint, and a target without its model", async () => {
	expect(await lint(at("llama"))).toMatchObject({ code: 3, out: "" });
	const { code, err } = await lint(at("alone"), "--target", "torchtitan");
	expect([code, err]).toEqual([2, expect.stringContaining("--model") as string]);
});

test("a damaged checkpoint is not linted", async () => {
	const torn = at("torn");
	await cp(at("made"), torn, { recursive: true });
	const metadata = await readFile(join(torn, ".metadata"));
	await writeFile(join(torn, ".metadata"), metadata.subarray(0, 500));
	expect(await lint(torn)).toMatchObject({ code: 6, out: "" });
});
