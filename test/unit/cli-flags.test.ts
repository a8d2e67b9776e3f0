import { describe, expect, test } from "vitest";
import { flagOfOption } from "../../src/cli/flags.ts";
import { LAYOUT_FLAGS, normaliseArguments, readLayoutFlags } from "../../src/cli/mesh-flags.ts";
import { main } from "../../src/cli/main.ts";
import { parseConversionOptions } from "../../src/parse-options.ts";
import { createFakeIo } from "../support/cli-io.ts";

describe("the mesh in two spellings", () => {
	test.each(LAYOUT_FLAGS.filter(({ torchtitan }) => torchtitan !== undefined))(
		"--$flag",
		(flag) => {
			const long = `parallelism.${flag.torchtitan}`;
			const short = flag.flag.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase());
			expect(readLayoutFlags({ [long]: "2" })).toEqual({ [flag.key]: "2" });
			expect(readLayoutFlags({ [short]: "2" })).toEqual({ [flag.key]: "2" });
			expect(readLayoutFlags({ [short]: "2", [long]: " 2" })).toEqual({ [flag.key]: "2" });
			expect(() => readLayoutFlags({ [short]: "2", [long]: "4" })).toThrow(/different things/);
		},
	);

	test("every flag is an option, and every option a flag", () => {
		const parallelism = Object.fromEntries(
			LAYOUT_FLAGS.map(({ key }) => [key, key === "moduleFqnsPerModelPart" ? "a;b" : "1"]),
		);
		expect(
			Object.keys(parseConversionOptions({ repo: "x/y", parallelism }).parallelism),
		).toHaveLength(LAYOUT_FLAGS.length);
	});

	test("a dash in torchtitan's names is an underscore", () => {
		expect(
			normaliseArguments(["--parallelism.tensor-parallel-degree=8", "--dp-shard", "a-b=c"]),
		).toEqual(["--parallelism.tensor_parallel_degree=8", "--dp-shard", "a-b=c"]);
	});
});

test.each([
	["parallelism.tp", "--tp"],
	["parallelism.moduleFqnsPerModelPart.0.1", "--pp-module-fqns"],
	["memoryBytes", "--memory"],
	["repo", "<repo>"],
	["dtype", "--dtype"],
])("the option %s is the flag %s", (path, flag) => {
	expect(flagOfOption(path)).toBe(flag);
});

async function run(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
	const io = createFakeIo();
	const code = await main(argv, io);
	return { code, out: io.out(), err: io.takeErr() };
}

describe("mistakes in a command line", () => {
	test.each([
		[
			["x/y", "--out", "o", "--dp-shrad", "4"],
			"unknown option '--dp-shrad'\n(Did you mean --dp-shard?)",
		],
		[
			["plan", "x/y", "--parallelism.tensor_paralel_degree=4"],
			"unknown option '--parallelism.tensor_paralel_degree=4'\n(Did you mean --parallelism.tensor_parallel_degree?)",
		],
		[["plan", "x/y", "z/w"], "too many arguments"],
		[["plan"], "missing required argument 'repo'"],
		[["x/y"], "required option '--out <dir>' not specified"],
		[["plan", "x/y", "--log-format", "xml"], "Allowed choices are text, json"],
		[["plan", "x/y", "--tp", "two"], '--tp: expected a whole number of at least 1, got "two"'],
		[["plan", "x/y", "--memory", "2G"], "--memory: expected a size such as 256MiB"],
		[["inspect", "x/y", "--limit", "-3"], "--limit: expected a whole number"],
		[
			["plan", "x/y", "--tp", "4", "--parallelism.tensor_parallel_degree", "8"],
			"--tp 4 and --parallelism.tensor_parallel_degree 8 say different things",
		],
	])("%j", async (argv, message) => {
		const { code, out, err } = await run(...argv);
		expect(err).toContain(message);
		expect(err).not.toMatch(/\n\s+at /);
		expect(code).toBe(2);
		expect(out).toBe("");
	});

	test("nothing at all prints the help and is a mistake", async () => {
		const { code, out, err } = await run();
		expect(code).toBe(2);
		expect(out).toBe("");
		expect(err).toContain("Usage: hf-stream-dcp <repo|directory> --out DIR");
	});

	test("errors are JSON when the log is", async () => {
		const { code, err } = await run("plan", "x/y", "--tp", "0", "--log-format", "json");
		expect(code).toBe(2);
		expect(JSON.parse(err)).toMatchObject({ kind: "error", code: "OPTIONS_INVALID", exitCode: 2 });
	});
});

test("--version prints the package's version on stdout", async () => {
	const { code, out } = await run("--version");
	expect(code).toBe(0);
	expect(out).toMatch(/^\d+\.\d+\.\d+\n$/);
});

test("with --log-format json, a wrong flag is one object on stderr", async () => {
	const io = createFakeIo();
	expect(await main(["org/name", "--out=x", "--log-format=json", "--nonsense"], io)).toBe(2);
	expect(JSON.parse(io.takeErr())).toMatchObject({
		kind: "error",
		code: "OPTIONS_INVALID",
		message: "unknown option '--nonsense'",
		exitCode: 2,
	});
});
