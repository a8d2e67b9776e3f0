import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { DEFAULT_MEMORY_BYTES } from "../../src/options.ts";
import { EXIT_CODES } from "../../src/index.ts";
import { findPython } from "../support/python.ts";
import { deployFile, EngineBench, HELD_AFTER } from "./engine-bench.ts";

const python = findPython(["torch", "transformers", "safetensors", "kubernetes_validate", "yaml"]);
const why = "skip" in python ? `: ${python.skip}` : "";
const interpreter = "python" in python ? python.python : "";

/** The first release with all that the Job uses, and the newest whose schema the package has. */
const RELEASES = ["1.29", "1.37"];

/** At a time, in the imitation. */
const PODS = 3;

const GIB = 1024 ** 3;
const MIB = 1024 ** 2;

interface Manifest {
	readonly spec: {
		readonly completions: number;
		readonly parallelism: number;
		readonly backoffLimitPerIndex: number;
		readonly podFailurePolicy: {
			readonly rules: readonly {
				readonly onExitCodes?: { readonly containerName: string; readonly values: number[] };
			}[];
		};
		readonly template: {
			readonly spec: {
				readonly terminationGracePeriodSeconds: number;
				readonly securityContext: { readonly runAsUser: number; readonly runAsGroup: number };
				readonly containers: readonly {
					readonly name: string;
					readonly args: readonly string[];
					readonly env: readonly { readonly name: string; readonly value?: string }[];
					readonly resources: {
						readonly requests: { readonly cpu: string; readonly memory: string };
						readonly limits: { readonly memory: string };
					};
				}[];
			};
		};
	};
}

/** The Job of deploy/, if it is as the schema of that release of Kubernetes says. */
function readManifest(release: string): Manifest {
	const script = join(import.meta.dirname, "kubernetes.py");
	const json = execFileSync(interpreter, [script, release, deployFile("kubernetes.yaml")]);
	return JSON.parse(json.toString()) as Manifest;
}

/** A pod of the imitated Job. */
interface Pod {
	readonly index: number;
	readonly process: ChildProcess;
}

/**
 * What the controller of an Indexed Job does, with processes for pods: as many at a time as `parallelism` says, the lowest indexes
 * first; an index whose pod failed gets another pod, unless the exit code is one of `fatal`, which ends the Job.
 *
 * @see https://kubernetes.io/docs/concepts/workloads/controllers/job/
 */
async function runIndexedJob(options: {
	readonly completions: number;
	readonly parallelism: number;
	readonly backoffLimitPerIndex: number;
	readonly fatal: readonly number[];
	readonly startPod: (index: number) => Promise<ChildProcess>;
	readonly onPod: (pod: Pod) => void;
}): Promise<{ readonly failures: readonly string[] }> {
	const todo = Array.from({ length: options.completions }, (_, index) => index);
	const failures: string[] = [];
	const runIndex = async (index: number): Promise<void> => {
		for (let failed = 0; ; failed++) {
			const process = await options.startPod(index);
			options.onPod({ index, process });
			const [code, signal] = (await once(process, "exit")) as [number | null, string | null];
			if (code === 0) return;
			failures.push(`${index}: ${code ?? signal}`);
			if (code !== null && options.fatal.includes(code)) throw new Error("FailJob");
			if (failed === options.backoffLimitPerIndex) throw new Error(`index ${index} failed`);
		}
	};
	const lane = async (): Promise<void> => {
		for (let index = todo.shift(); index !== undefined; index = todo.shift()) await runIndex(index);
	};
	await Promise.all(Array.from({ length: options.parallelism }, lane));
	return { failures };
}

describe.skipIf(why !== "")(`an Indexed Job of Kubernetes${why}`, () => {
	test.each(RELEASES)("is as the schema of release %s says", (release) => {
		expect(readManifest(release)).toMatchObject({ kind: "Job", apiVersion: "batch/v1" });
	});

	test("does not contradict itself, the program or the image", () => {
		const { spec } = readManifest("1.37");
		const [container] = spec.template.spec.containers;
		const value = (name: string) =>
			container!.env.find((variable) => variable.name === name)?.value;
		expect(value("HF_STREAM_DCP_WORKERS")).toBe(String(spec.completions));
		expect(spec.parallelism).toBe(spec.completions);

		const [fatal] = spec.podFailurePolicy.rules.flatMap(({ onExitCodes }) => onExitCodes ?? []);
		expect(fatal!.containerName).toBe(container!.name);
		expect(fatal!.values).toEqual([EXIT_CODES.OPTIONS_INVALID, EXIT_CODES.LAYOUT_INVALID]);

		const flag = (name: string) =>
			container!.args.find((argument) => argument.startsWith(`${name}=`))?.split("=")[1];
		const { requests, limits } = container!.resources;
		expect(flag("--threads")).toBe(requests.cpu);
		expect(flag("--memory")).toBe(`${DEFAULT_MEMORY_BYTES / MIB}MiB`);
		const threadBytes = Number(flag("--threads")) * DEFAULT_MEMORY_BYTES;
		const gibibytes = (size: string): number => Number(/^(\d+)Gi$/.exec(size)?.[1]) * GIB;
		expect(gibibytes(requests.memory)).toBeGreaterThan(threadBytes + 100 * MIB);
		expect(gibibytes(limits.memory)).toBeGreaterThanOrEqual(gibibytes(requests.memory));
		// Beyond the default of --grace.
		expect(spec.template.spec.terminationGracePeriodSeconds).toBeGreaterThan(20);

		const { runAsUser, runAsGroup } = spec.template.spec.securityContext;
		const image = readFileSync(deployFile("Containerfile"), "utf8");
		expect(image).toContain(`\nUSER ${runAsUser}:${runAsGroup}\n`);
	});

	describe("imitated with processes for pods", () => {
		let bench: EngineBench;

		beforeAll(async () => {
			bench = await EngineBench.open(interpreter);
		});
		afterAll(() => bench?.[Symbol.asyncDispose]());
		afterEach(() => bench.hub.release());

		/** Starts a pod: nothing but its environment says who it is, and its home is its own. */
		async function startPod(
			checkpoint: string,
			index: number,
			env: { readonly [name: string]: string },
		): Promise<ChildProcess> {
			const home = await mkdtemp(join(bench.folder, "pod-"));
			const args = bench.argumentsFor(checkpoint, { leaseSeconds: 3 });
			return spawn("hf-stream-dcp", args, {
				env: { ...bench.env, HF_HOME: home, ...env, JOB_COMPLETION_INDEX: String(index) },
				stdio: "ignore",
			});
		}

		test("fewer pods at a time than workers, one killed, one evicted: the Job completes", async () => {
			const { spec } = readManifest("1.37");
			const checkpoint = bench.newCheckpoint();
			const pods: Pod[] = [];
			bench.hub.holdAfter(HELD_AFTER);
			const job = runIndexedJob({
				completions: spec.completions,
				parallelism: PODS,
				backoffLimitPerIndex: spec.backoffLimitPerIndex,
				fatal: spec.podFailurePolicy.rules.flatMap(({ onExitCodes }) => onExitCodes?.values ?? []),
				startPod: (index) =>
					startPod(checkpoint, index, { HF_STREAM_DCP_WORKERS: String(spec.completions) }),
				onPod: (pod) => pods.push(pod),
			});
			await bench.hub.held(PODS);
			const pod = (index: number): ChildProcess =>
				pods.find((candidate) => candidate.index === index)!.process;
			const [killed, evicted] = [pod(0), pod(1)];
			killed.kill("SIGKILL");
			evicted.kill("SIGTERM");
			await once(evicted, "exit");
			// Pods are not started anew at once.
			await delay(200);
			bench.hub.release();
			const { failures } = await job;
			expect(failures.toSorted()).toEqual(["0: SIGKILL", "1: 143"]);
			expect(pods).toHaveLength(spec.completions + 2);
			const summary = await bench.summaryOf(checkpoint);
			expect(summary.shares).toBe(spec.completions);
			const resumed = summary.workers.reduce((sum, { resumedEntries }) => sum + resumedEntries, 0);
			expect(resumed).toBeGreaterThan(0);
			await bench.expectLoads(checkpoint);
		});

		test("a Job that does not say how many workers there are fails at once, and says what is missing", async () => {
			const checkpoint = bench.newCheckpoint();
			const { code, output } = await bench.run("hf-stream-dcp", bench.argumentsFor(checkpoint), {
				JOB_COMPLETION_INDEX: "0",
			});
			expect(code).toBe(EXIT_CODES.OPTIONS_INVALID);
			expect(output).toContain("JOB_COMPLETION_INDEX=0");
			expect(output).toContain("HF_STREAM_DCP_WORKERS");
		});
	});
});
