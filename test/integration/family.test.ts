import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { familyJson } from "../../src/cli/family-json.ts";
import { planJson } from "../../src/cli/render-plan.ts";
import {
	builtInFamily,
	checkFamily,
	convert,
	type Family,
	HfStreamDcpError,
	inspectCheckpoint,
	parseConvertOptions,
	prepareConversion,
	type ProgressEvent,
} from "../../src/index.ts";
import { parseConversionOptions } from "../../src/parse-options.ts";
import { writeModel } from "../support/model-directory.ts";
import {
	type SmallModel,
	smallLlama3,
	smallLlama4,
	smallQwen3,
	smallQwen3Moe,
} from "../support/model-sources.ts";
import { runCli } from "../support/run-cli.ts";

let root: string;

beforeAll(async () => {
	root = await mkdtemp(join(tmpdir(), "hf-stream-dcp-family-"));
	await writeModel(join(root, "llama3"), smallLlama3());
});

afterAll(() => rm(root, { recursive: true }));

async function planOf(repo: string, family: string | Family | undefined): Promise<string> {
	const options = parseConversionOptions({ repo, family, parallelism: { dpShard: 2 } });
	await using prepared = await prepareConversion({ ...options, threads: 1 });
	return [...planJson(prepared)].join("");
}

async function failureOf(action: Promise<unknown>): Promise<HfStreamDcpError> {
	const thrown: unknown = await action.catch((error: unknown) => error);
	if (thrown instanceof HfStreamDcpError) return thrown;
	throw new Error(`not refused: ${String(thrown)}`);
}

const MODELS: readonly (readonly [family: string, what: string, model: SmallModel])[] = [
	["llama3", "dense", smallLlama3()],
	["llama4", "with vision", smallLlama4("conditional")],
	["llama4", "text", smallLlama4("text")],
	["qwen3", "dense", smallQwen3()],
	["qwen3", "experts apart", smallQwen3Moe("separate")],
	["qwen3", "experts fused", smallQwen3Moe("fused")],
];

describe("family show", () => {
	test.each(MODELS)(
		"%s (%s): given back, it makes the identical plan",
		async (name, what, model) => {
			const repo = join(root, `${name} ${what}`);
			await writeModel(repo, model);
			const path = join(root, `${name}.json`);
			await writeFile(path, familyJson(builtInFamily(name)));
			const plan = await planOf(repo, undefined);
			expect(await planOf(repo, path)).toBe(plan);
			expect(await planOf(repo, builtInFamily(name))).toBe(plan);
		},
	);

	test("prints what is read back, and list names it", async () => {
		const shown = await runCli(["family", "show", "llama4"], {});
		expect(shown).toMatchObject({ code: 0, stderr: "" });
		expect(JSON.parse(shown.stdout)).toEqual(builtInFamily("llama4"));
		const { stdout } = await runCli(["family", "list"], {});
		expect(stdout).toMatch(/^llama4 /m);
		expect((await runCli(["family", "show", "lama4"], {})).code).toBe(4);
	});
});

describe("family check", () => {
	test("exits with 0 and says what becomes of every tensor", async () => {
		const repo = join(root, "llama4 with vision");
		await writeModel(repo, smallLlama4("conditional"));
		const { code, stdout, stderr } = await runCli(["family", "check", repo], {});
		expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
		expect(stdout).toContain("used        45 source tensors, each element exactly once");
		expect(stdout).toContain("2 tensors: vision_model.*");
		expect(stdout).toContain("added       2 that no source has");
	});

	test("exits with 4 and lists what does not fit, as text and as JSON", async () => {
		const args = ["family", "check", join(root, "llama3"), "--family", "qwen3"];
		const text = await runCli(args, {});
		expect(text.code).toBe(4);
		expect(text.stdout).toContain("q_norm.weight");
		expect(text.stderr).toContain("family qwen3 does not fit");
		const { code, stdout } = await runCli([...args, "--json"], {});
		expect(code).toBe(4);
		expect(JSON.parse(stdout)).toMatchObject({
			ok: false,
			family: "qwen3",
			problems: [{ code: "NAMES_UNRESOLVED", facts: { missing: expect.any(Array) as unknown } }],
		});
	});

	test("lists every kind of key that torchtitan has no rule for, and every misused tensor", async () => {
		const family = structuredClone(builtInFamily("llama3")) as Family & {
			readonly items: { readonly items: { target: string; make: unknown }[] }[];
		};
		for (const rule of family.items[1]!.items) {
			rule.target = rule.target
				.replace("feed_forward", "ffn")
				.replace("attention.wo", "attention.out");
		}
		family.items[1]!.items[6]!.make = family.items[1]!.items[4]!.make;
		const { ok, problems } = await checkFamily({ repo: join(root, "llama3"), family });
		expect(ok).toBe(false);
		// Names come first: the source that nobody takes any more.
		expect(problems.map(({ code }) => code)).toEqual(["NAMES_UNRESOLVED"]);
		family.items[1]!.items[6]!.make = "model.layers.{layer}.mlp.up_proj.weight";
		const again = await checkFamily({ repo: join(root, "llama3"), family });
		expect(again.problems.map(({ code }) => code)).toEqual(["LAYOUT_INVALID"]);
		expect(again.problems[0]?.message.split("\n  ").slice(1)).toEqual([
			"layers.#.attention.out.weight",
			"layers.#.ffn.w1.weight",
			"layers.#.ffn.w2.weight",
			"layers.#.ffn.w3.weight",
		]);
	});
});

/** The first JSON example of docs/families.md: a family with keys of its own. */
async function documented(): Promise<string> {
	const text = await readFile(join(import.meta.dirname, "../../docs/families.md"), "utf8");
	return /```jsonc\n([^]*?)```/.exec(text)?.[1] ?? "";
}

/** What that family is for. */
const OWN_MODEL: SmallModel = {
	config: { num_hidden_layers: 2, hidden_size: 6, intermediate_size: 4, vocab_size: 10 },
	shapes: {
		"model.embed_tokens.weight": [10, 6],
		...Object.fromEntries(
			[0, 1].flatMap((layer) => [
				[`model.layers.${layer}.mlp.gate_proj.weight`, [4, 6]],
				[`model.layers.${layer}.mlp.up_proj.weight`, [4, 6]],
				[`model.layers.${layer}.mlp.down_proj.weight`, [6, 4]],
				[`model.layers.${layer}.rotary_emb.inv_freq`, [3]],
			]),
		),
	},
};

describe("a family with keys of its own", () => {
	let repo: string;
	let family: string;

	beforeAll(async () => {
		repo = join(root, "own");
		family = join(root, "own.jsonc");
		await writeModel(repo, OWN_MODEL);
		await writeFile(family, await documented());
	});

	test("the example of the documentation is converted, cut by FSDP2", async () => {
		const out = join(root, "own-checkpoint");
		const summary = await convert(
			parseConvertOptions({ repo, family, out, parallelism: { dpShard: 2 } }),
		);
		expect(summary).toMatchObject({
			outcome: "committed",
			plan: { target: "own", family: "tiny" },
		});
		const { tensors, problems } = await inspectCheckpoint(out);
		expect(problems).toEqual([]);
		const w13 = tensors.find(({ fqn }) => fqn === "blocks.1.mlp.w13");
		expect(w13?.entries.map(({ box }) => box.size)).toEqual([
			[4, 6],
			[4, 6],
		]);
		expect(tensors.map(({ fqn }) => fqn)).toHaveLength(5);
	});

	test("has one target, and others do not have that one", async () => {
		const wrong = await failureOf(planFor({ repo, family, target: "torchtitan@2026-06" }));
		expect(wrong.message).toContain("the family tiny has keys of its own");
		const llama = await failureOf(planFor({ repo: join(root, "llama3"), target: "own" }));
		expect(llama.message).toContain("the family llama3 has torchtitan's keys");
		const hf = await failureOf(planFor({ repo, family, target: "hf" }));
		expect(hf.message).toContain("--target hf keeps names; it has no tiny");
	});

	test("what its own keys are spelled like is not touched", async () => {
		const text = (await documented()).replace("embed.weight", "output.weight");
		await writeFile(family, text);
		expect(await planOf(repo, family)).toContain('"fqn":"output.weight"');
	});
});

async function planFor(input: object): Promise<void> {
	const prepared = await prepareConversion({ ...parseConversionOptions(input), threads: 1 });
	await prepared[Symbol.asyncDispose]();
}

describe("a job", () => {
	/** Stops when the first byte would be fetched. */
	async function begin(family: unknown, out: string): Promise<void> {
		const abort = new AbortController();
		const onEvent = (event: ProgressEvent): void => {
			if (event.kind === "phase" && event.phase === "stream") abort.abort(new Error("stop"));
		};
		const repo = join(root, "llama3");
		const options = parseConvertOptions({ repo, family, out, onEvent, signal: abort.signal });
		await expect(convert(options)).rejects.toThrow("stop");
	}

	test("is refused with another family, by rule, and goes on with the same one", async () => {
		const out = join(root, "job");
		const path = join(root, "job.json");
		const family = builtInFamily("llama3");
		await writeFile(path, familyJson(family));
		await begin(path, out);
		const other = familyJson({ ...family, summary: "other words" }).replace(
			'"layers.{layer}.attention.wo.weight",\n\t\t\t\t\t"shape": ["hidden", "heads * head_dim"]',
			'"layers.{layer}.attention.wo.weight",\n\t\t\t\t\t"shape": ["hidden", "head_dim * heads"]',
		);
		expect(other).toContain('"head_dim * heads"');
		await writeFile(path, other);
		const options = parseConvertOptions({ repo: join(root, "llama3"), family: path, out });
		const refused = await failureOf(convert(options));
		expect(refused.code).toBe("PLAN_CHANGED");
		expect(refused.message).toContain("family rule layers.{layer}.attention.wo.weight: ");
		expect(refused.message).toContain('"shape":["hidden","head_dim * heads"]');
		expect(refused.message).not.toContain("family rule layers.{layer}.attention_norm.weight");
		// Written in another way, and with another summary, it is the same family.
		const same = join(root, "same.json");
		await writeFile(same, JSON.stringify({ ...family, summary: "", $schema: "x" }));
		const summary = await convert({ ...options, family: same });
		expect(summary.outcome).toBe("committed");
	});
});

describe("a module", () => {
	test("of JavaScript is read like JSON, and errors name the path in it", async () => {
		const path = join(root, "family.mjs");
		await writeFile(path, `export default ${familyJson(builtInFamily("llama3"))};`);
		const repo = join(root, "llama3");
		expect(await planOf(repo, path)).toBe(await planOf(repo, undefined));
		const broken = join(root, "broken.mjs");
		await writeFile(
			broken,
			"export default { name: 'x', numbers: {}, items: [{ kind: 'tensr' }] };",
		);
		const error = await failureOf(planFor({ repo, family: broken }));
		expect(error.code).toBe("FAMILY_INVALID");
		expect(error.message).toContain(
			'items[0].kind: there is no kind "tensr"; did you mean tensor?',
		);
	});

	test.each([
		["nothing.mjs", "export const family = {};", "has no default export"],
		["throws.mjs", "throw new Error('no');", "the module cannot be loaded"],
		["function.mjs", "export default () => ({});", "expected an object, got"],
		["circle.mjs", "const x = { name: 'x' }; x.items = [x]; export default x;", "nested too deep"],
	])("%s is refused", async (name, text, message) => {
		const path = join(root, name);
		await writeFile(path, text);
		const error = await failureOf(planFor({ repo: join(root, "llama3"), family: path }));
		expect(error.code).toBe("FAMILY_INVALID");
		expect(error.message).toContain(message);
	});

	test("of TypeScript says what it needs, or is read", async () => {
		const path = join(root, "family.ts");
		await writeFile(path, `export default ${familyJson(builtInFamily("llama3"))} as const;`);
		const { code, stderr } = await runCli(["plan", join(root, "llama3"), "--family", path], {});
		if (code === 0) return;
		expect(code).toBe(4);
		expect(stderr).toContain(
			'does not run TypeScript. Node 22.18 and later do; here, set NODE_OPTIONS="--import tsx"',
		);
	});
});

test("a file that is not there, and one that is no family, are told apart from names", async () => {
	const repo = join(root, "llama3");
	const missing = await failureOf(planFor({ repo, family: join(root, "none.json") }));
	expect(missing.code).toBe("FAMILY_UNKNOWN");
	expect(missing.message).toMatch(/the family file .*none\.json cannot be read/);
	const odd = await failureOf(planFor({ repo, family: "./families/mine.yaml" }));
	expect(odd.message).toBe("./families/mine.yaml is no file of a family");
	const name = await failureOf(planFor({ repo, family: "mine" }));
	expect(name.message).toBe('there is no family "mine"');
});
