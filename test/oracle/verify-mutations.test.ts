import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { link, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { convert } from "../../src/conversion/convert.ts";
import { isHfStreamDcpError } from "../../src/core/errors.ts";
import { readCheckpointIndex } from "../../src/dcp/checkpoint-reader.ts";
import { parseConvertOptions } from "../../src/parse-options.ts";
import { mapConcurrently } from "../../src/fetch/map-concurrently.ts";
import type { VerifyLevel } from "../../src/verify/entry-check.ts";
import { verifyCheckpoint } from "../../src/verify-checkpoint.ts";
import {
	ADDED_OBJECT,
	type Damage,
	MUTATION_KINDS,
	type MutationInputs,
	type Snapshot,
} from "../support/mutations.ts";
import { findPython } from "../support/python.ts";
import { createRandom, randomBytes } from "../support/random.ts";
import { safetensorsFile } from "../support/safetensors-cases.ts";

const DOCUMENT = join(import.meta.dirname, "../../docs/verify.md");
const SEED = 20_260_728;
const LEVELS = ["quick", "data", "hashes"] as const;

/** Names and shapes of the model; some of the same shape, one that no rank's cut divides. */
const SHAPES: { readonly [name: string]: readonly number[] } = {
	"model.embed_tokens.weight": [48, 16],
	"model.layers.0.self_attn.q_proj.weight": [16, 16],
	"model.layers.0.self_attn.o_proj.weight": [16, 16],
	"model.layers.0.mlp.up_proj.weight": [40, 16],
	"model.layers.0.mlp.down_proj.weight": [16, 40],
	"model.layers.0.input_layernorm.weight": [16],
	"model.norm.weight": [16],
	"lm_head.weight": [48, 16],
};

interface Mutated {
	readonly kind: string;
	readonly directory: string;
	readonly isHostile: boolean;
	/** The level at which it was found first. */
	found?: VerifyLevel | undefined;
}

let root = "";
let inputs: MutationInputs;
const mutated: Mutated[] = [];

async function writeWeights(directory: string, seed: number): Promise<void> {
	const members: (readonly [string, unknown])[] = [];
	const parts: Uint8Array[] = [];
	let end = 0;
	for (const [index, [name, shape]] of Object.entries(SHAPES).entries()) {
		const numbers = new Float32Array(shape.reduce((product, size) => product * size, 1));
		const bytes = randomBytes(numbers.length, seed + index);
		for (const [place, byte] of bytes.entries()) numbers[place] = (byte - 128) / 64;
		members.push([name, { dtype: "F32", shape, data_offsets: [end, end + numbers.byteLength] }]);
		parts.push(Buffer.from(numbers.buffer));
		end += numbers.byteLength;
	}
	await mkdir(directory);
	await writeFile(join(directory, "config.json"), '{"architectures":["LlamaForCausalLM"]}');
	const header = JSON.stringify(Object.fromEntries(members));
	await writeFile(
		join(directory, "model.safetensors"),
		safetensorsFile(header, Buffer.concat(parts)),
	);
}

async function snapshot(name: string, seed: number, dpShard: number): Promise<Snapshot> {
	const repo = join(root, `${name}-model`);
	const out = join(root, name);
	await writeWeights(repo, seed);
	await convert(
		parseConvertOptions({ repo, out, target: "hf", threads: 1, parallelism: { dpShard } }),
	);
	const files = new Map(
		readdirSync(out, { withFileTypes: true })
			.filter((entry) => entry.isFile())
			.map((entry) => [entry.name, readFileSync(join(out, entry.name))]),
	);
	return { files, index: await readCheckpointIndex(out) };
}

/** A copy of the good checkpoint with damage; files that are as they were are links. */
async function writeDamaged(directory: string, damage: Damage): Promise<void> {
	await mkdir(directory);
	for (const name of inputs.base.files.keys()) {
		if (!damage.has(name)) await link(join(root, "base", name), join(directory, name));
	}
	for (const [name, bytes] of damage) {
		if (bytes !== null) await writeFile(join(directory, name), bytes);
	}
}

function isChange(damage: Damage): boolean {
	return [...damage].some(([name, bytes]) => {
		const before = inputs.base.files.get(name);
		return bytes === null || before === undefined || !before.equals(bytes);
	});
}

beforeAll(async () => {
	root = await mkdtemp(join(tmpdir(), "verify-mutations-"));
	inputs = {
		base: await snapshot("base", 1, 4),
		revision: await snapshot("revision", 1000, 4),
		relayout: await snapshot("relayout", 1, 2),
		canary: join(root, "canary"),
	};
	const random = createRandom(SEED);
	for (const { name, count, make, isHostile = false } of MUTATION_KINDS) {
		for (let turn = 0; turn < count; turn++) {
			const damage = make(inputs, random, turn);
			// A byte may be what it was: then the next one.
			if (!isChange(damage)) throw new Error(`${name} ${turn} changes nothing`);
			const directory = join(root, `mutated-${mutated.length}`);
			await writeDamaged(directory, damage);
			mutated.push({ kind: name, directory, isHostile });
		}
	}
});

afterAll(() => rm(root, { recursive: true, force: true }));

/** Whether a level finds that something is wrong; anything but a report or a typed error is thrown. */
async function isFound(directory: string, level: VerifyLevel): Promise<boolean> {
	try {
		const report = await verifyCheckpoint({ directory, level });
		expect(report.isGood).toBe(report.problems.length === 0);
		for (const { message } of report.problems) expect(message).not.toMatch(/[\n\0]|undefined/);
		return !report.isGood;
	} catch (error) {
		if (isHfStreamDcpError(error)) return true;
		throw error;
	}
}

test("the checkpoints that damage is made of are good at every level", async () => {
	for (const name of ["base", "revision", "relayout"]) {
		for (const level of LEVELS) {
			const report = await verifyCheckpoint({ directory: join(root, name), level });
			expect(report.problems).toEqual([]);
			expect(report.counts.canonical).toBe(report.counts.entries);
		}
	}
});

test("at least 500 mutations: each is found, none crashes verify, none is executed", async () => {
	expect(mutated.length).toBeGreaterThanOrEqual(500);
	await mapConcurrently(mutated, 8, async (one) => {
		const found: VerifyLevel[] = [];
		for (const level of LEVELS) if (await isFound(one.directory, level)) found.push(level);
		// What a level finds, those above it find, too.
		expect(found, `${one.kind} in ${one.directory}`).toEqual(LEVELS.slice(-found.length));
		one.found = found[0];
	});
	expect(mutated.filter(({ found }) => found === undefined)).toEqual([]);
	expect(existsSync(inputs.canary)).toBe(false);
});

type Outcome = "same" | "silent" | "raises" | "executes";

interface TorchAnswer {
	readonly torch: string;
	readonly directories: readonly Outcome[];
	readonly hostile: readonly Outcome[];
}

async function askTorch(python: string): Promise<TorchAnswer> {
	const script = fileURLToPath(new URL("./verify_mutations.py", import.meta.url));
	const child = spawn(python, ["-W", "ignore", script], {
		stdio: ["pipe", "pipe", "pipe"],
		env: { ...process.env, OMP_NUM_THREADS: "1", PYTHONDONTWRITEBYTECODE: "1" },
	});
	child.stdin.end(
		JSON.stringify({
			base: join(root, "base"),
			directories: mutated.filter(({ isHostile }) => !isHostile).map((one) => one.directory),
			hostile: mutated
				.filter(({ isHostile }) => isHostile)
				.map(({ kind, directory }) => ({
					directory,
					canary: inputs.canary,
					object: kind.includes("object") ? ADDED_OBJECT : undefined,
				})),
		}),
	);
	const [output, errors, [code]] = await Promise.all([
		text(child.stdout),
		text(child.stderr),
		once(child, "exit"),
	]);
	if (code !== 0) throw new Error(`torch failed:\n${errors.slice(-4000)}`);
	return JSON.parse(output) as TorchAnswer;
}

/** The rows of the table in `docs/verify.md`. */
function tableOf(outcomes: ReadonlyMap<Mutated, Outcome>): string[] {
	return [...new Set(mutated.map(({ kind }) => kind)), undefined].map((kind) => {
		const rows = mutated.filter((one) => kind === undefined || one.kind === kind);
		const atLevel = LEVELS.map((level) => rows.filter(({ found }) => found === level).length);
		const words = (["silent", "executes", "raises", "same"] as const).map(
			(word) => rows.filter((one) => outcomes.get(one) === word).length,
		);
		const cells = [kind ?? "**all**", rows.length, ...atLevel, ...words];
		return `| ${cells.map((cell) => (cell === 0 ? "" : cell)).join(" | ")} |`;
	});
}

const search = findPython(["torch", "numpy"]);

describe.skipIf("skip" in search)("what torch makes of the same damage", () => {
	test("it loads most of it in silence, and the table in docs/verify.md says so", async () => {
		if ("skip" in search) return;
		const answer = await askTorch(search.python);
		const hostile = [...answer.hostile];
		const others = [...answer.directories];
		const outcomes = new Map<Mutated, Outcome>();
		for (const one of mutated) outcomes.set(one, (one.isHostile ? hostile : others).shift()!);
		expect(outcomes.size).toBe(mutated.length);

		const table = tableOf(outcomes);
		const document = readFileSync(DOCUMENT, "utf8");
		if (process.env["UPDATE_DOCS"] !== undefined) {
			const begin = document.indexOf("| damage |");
			const end = document.indexOf("\n\n", begin);
			const head = document.slice(begin, end).split("\n").slice(0, 2);
			const updated =
				document.slice(0, begin) + [...head, ...table].join("\n") + document.slice(end);
			await writeFile(DOCUMENT, updated);
		}
		const written = readFileSync(DOCUMENT, "utf8").split("\n");
		expect(written).toEqual(expect.arrayContaining(table));
		expect(readFileSync(DOCUMENT, "utf8")).toContain(`torch ${answer.torch.split("+")[0]}`);
	});
});
