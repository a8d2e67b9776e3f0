import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const BACKEND = join(import.meta.dirname, "../../dist/src/stream/cpu/backend.js");

const PROGRAM = `
	const { createCpuBackend } = await import(${JSON.stringify(BACKEND)});
	const backend = createCpuBackend();
	const memory = backend.allocate(1 << 20);
	memory.set([1, 2, 3, 4]);
	const dims = [{ size: 2, sourceStride: 1, targetStride: 2 }, { size: 2, sourceStride: 2, targetStride: 1 }];
	const dtypes = { sourceDtype: "uint8", targetDtype: "uint8" };
	const piece = { kind: "gather", source: "s", ...dtypes, sourceOffset: 0, targetOffset: 0, dims };
	const loaded = await backend.load(memory.subarray(0, 4));
	await loaded.run([{ piece, stagingOffset: 0 }], memory.subarray(64, 68));
	process.stdout.write([backend.name, memory.length, ...memory.subarray(64, 68)].join());
`;

async function run(command: string, ...args: readonly string[]): Promise<string> {
	const { stdout } = await promisify(execFile)(command, args);
	return stdout;
}

const program = ["--input-type=module", "--eval", PROGRAM];

test("what is built has its kernels with it", async () => {
	expect(await run(process.execPath, ...program)).toBe("cpu (wasm simd),1048576,1,3,2,4");
});

test("a Node without WebAssembly does without them", async () => {
	expect(await run(process.execPath, "--jitless", ...program)).toBe("cpu,1048576,1,3,2,4");
});

test.runIf(process.platform === "linux")(
	"and so does a process with too little address space for WebAssembly's guard pages",
	async () => {
		const limited = 'ulimit -v 4000000 && exec "$@"';
		const output = await run("sh", "-c", limited, "sh", process.execPath, ...program);
		expect(output).toBe("cpu,1048576,1,3,2,4");
	},
);
