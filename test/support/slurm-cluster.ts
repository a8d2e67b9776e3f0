import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { lookup } from "node:dns/promises";
import { once } from "node:events";
import { openSync, readdirSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { freePorts } from "./free-ports.ts";
import { type RunningProcess, runningProcesses } from "./processes.ts";
import { findTool, findTools, type ToolSearch } from "./tools.ts";

const execute = promisify(execFile);

/** Whether SLURM and munge are installed. */
export function findSlurm(): ToolSearch {
	return findTools(
		["munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "sinfo", "setpriv"],
		"Debian: apt install slurm-wlm munge",
	);
}

/** What a cluster is made of. */
export interface SlurmOptions {
	readonly nodes: number;
	/** Between SIGTERM and SIGKILL, seconds; SLURM's own default is 30. */
	readonly killWaitSeconds: number;
	/** After which a silent node is taken for lost; SLURM's own default is 300. */
	readonly nodeTimeoutSeconds: number;
}

/** How a submitted job stands: SLURM's word (`PENDING`, `RUNNING`, `COMPLETED`, …). */
export interface SlurmJob {
	readonly state: string;
	/** How often it was requeued. */
	readonly restarts: number;
	/** `exit code:signal` of the script. */
	readonly exitCode: string;
	readonly nodes: number;
}

/** States that a job does not leave by itself. */
const ENDED: ReadonlySet<string> = new Set([
	"BOOT_FAIL",
	"CANCELLED",
	"COMPLETED",
	"DEADLINE",
	"FAILED",
	"NODE_FAIL",
	"OUT_OF_MEMORY",
	"TIMEOUT",
]);

/**
 * A SLURM of its own: munged, slurmctld and several slurmd, all real, on this host, in a temporary directory. Disposal stops
 * them and whatever they started.
 */
export class SlurmCluster implements AsyncDisposable {
	readonly #directory: string;
	readonly #daemons: Map<string, ChildProcess>;
	readonly #environment: NodeJS.ProcessEnv;

	private constructor(directory: string, daemons: Map<string, ChildProcess>) {
		this.#directory = directory;
		this.#daemons = daemons;
		this.#environment = environmentOf(directory);
	}

	/** Starts it and waits until every node is idle. */
	static async start(options: SlurmOptions): Promise<SlurmCluster> {
		// Short: the path of a socket has at most 107 bytes. Open to all: munge insists on it for the folder of its socket.
		const directory = await mkdtemp(join(tmpdir(), "slurm-"));
		await chmod(directory, 0o755);
		await configure(directory, options);
		const daemons = new Map<string, ChildProcess>();
		const cluster = new SlurmCluster(directory, daemons);
		const start = (name: string, program: string, ...args: string[]): void => {
			const log = openSync(join(directory, `${name}.log`), "a");
			const env = environmentOf(directory);
			// They end with this process, however it ends.
			const command = ["--pdeathsig", "KILL", findTool(program)!, ...args];
			daemons.set(name, spawn("setpriv", command, { env, stdio: ["ignore", log, log] }));
		};
		try {
			start("munged", "munged", "--foreground", ...mungeFlags(directory));
			await cluster.#until("munged listens", async () => {
				await execute("munge", ["--no-input", "--socket", join(directory, "run/munge")]);
				return true;
			});
			start("slurmctld", "slurmctld", "-D", "-c");
			for (let node = 1; node <= options.nodes; node++)
				start(`node${node}`, "slurmd", "-D", "-N", `node${node}`);
			await cluster.#until("every node is idle", async () => {
				const states = await cluster.run("sinfo", "--noheader", "--Node", "--format=%t");
				return states.trim() === Array(options.nodes).fill("idle").join("\n");
			});
			return cluster;
		} catch (error) {
			await cluster[Symbol.asyncDispose]();
			throw error;
		}
	}

	/** Runs one of SLURM's commands to its end and returns what it prints. */
	async run(command: string, ...args: readonly string[]): Promise<string> {
		return (await execute(findTool(command)!, args, { env: this.#environment })).stdout;
	}

	/**
	 * Submits a job.
	 *
	 * @param args - As for `sbatch`: flags, the script, its arguments.
	 * @param env - What the job sees besides `PATH` and what SLURM sets.
	 * @returns its number
	 */
	async submit(args: readonly string[], env: { readonly [name: string]: string }): Promise<string> {
		const options = { env: { ...this.#environment, ...env } };
		const { stdout } = await execute(findTool("sbatch")!, ["--parsable", ...args], options);
		return stdout.trim();
	}

	/** Looks at a job, also one that ended a while ago. */
	async job(id: string): Promise<SlurmJob> {
		const text = await this.run("scontrol", "--oneliner", "show", "job", id);
		const field = (name: string): string =>
			new RegExp(`(?:^| )${name}=(\\S*)`).exec(text)?.[1] ?? "";
		return {
			state: field("JobState"),
			restarts: Number(field("Restarts")),
			exitCode: field("ExitCode"),
			nodes: Number(/^\d+/.exec(field("NumNodes"))?.[0] ?? 0),
		};
	}

	/**
	 * Waits until a job is as `isSo` says, and returns it.
	 *
	 * @throws {Error} when it ends otherwise, or takes too long; with what the daemons wrote
	 */
	async jobIs(
		id: string,
		isSo: (job: SlurmJob) => boolean,
		within: { readonly seconds: number } = { seconds: 60 },
	): Promise<SlurmJob> {
		let job: SlurmJob | undefined;
		await this.#until(
			`job ${id}`,
			async () => {
				job = await this.job(id);
				return isSo(job) || ENDED.has(job.state);
			},
			within.seconds,
			() => JSON.stringify(job),
		);
		if (job === undefined || !isSo(job))
			throw new Error(`job ${id} ended: ${JSON.stringify(job)}\n${await this.logs()}`);
		return job;
	}

	/** As if somebody pulled the plug of a node: its daemon, and all that runs on it, are gone at once. */
	async killNode(node: string): Promise<void> {
		const daemon = this.#daemons.get(node)!;
		this.#daemons.delete(node);
		const ended = once(daemon, "exit");
		daemon.kill("SIGKILL");
		for (const { pid, environment } of this.#processes())
			if (environment["SLURMD_NODENAME"] === node) kill(pid);
		await ended;
	}

	#processes(): readonly RunningProcess[] {
		const config = this.#environment["SLURM_CONF"];
		return runningProcesses().filter(({ environment }) => environment["SLURM_CONF"] === config);
	}

	/** What the daemons wrote, for a failure's message. */
	async logs(): Promise<string> {
		const names = readdirSync(this.#directory).filter((name) => name.endsWith(".log"));
		const texts = names.map(async (name) => {
			// A log that was truncated while it was open has a hole.
			const text = (await readFile(join(this.#directory, name), "utf8")).replaceAll("\0", "");
			return `== ${name}\n${text.trim().split("\n").slice(-12).join("\n")}`;
		});
		return (await Promise.all(texts)).join("\n");
	}

	async [Symbol.asyncDispose](): Promise<void> {
		const [munged, ...slurm] = this.#daemons.values();
		await Promise.all(slurm.map(stop));
		// slurmstepd and what it runs outlive slurmd, as is their purpose.
		for (const { pid } of this.#processes()) kill(pid);
		if (munged !== undefined) await stop(munged);
		await rm(this.#directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
	}

	async #until(
		what: string,
		isSo: () => Promise<boolean>,
		seconds = 30,
		more = () => "",
	): Promise<void> {
		const deadline = performance.now() + seconds * 1000;
		let last: unknown;
		while (performance.now() < deadline) {
			const dead = [...this.#daemons.values()].find(({ exitCode }) => exitCode !== null);
			if (dead !== undefined)
				throw new Error(`${dead.spawnargs.join(" ")} ended (${what})\n${await this.logs()}`);
			try {
				if (await isSo()) return;
			} catch (error) {
				last = error;
			}
			await delay(100);
		}
		throw new Error(`not within ${seconds} s: ${what} ${more()}\n${await this.logs()}`, {
			cause: last,
		});
	}
}

function environmentOf(directory: string): NodeJS.ProcessEnv {
	return { PATH: process.env["PATH"], SLURM_CONF: join(directory, "slurm.conf") };
}

function mungeFlags(directory: string): readonly string[] {
	const path = (name: string): string => join(directory, "munge", name);
	return [
		`--key-file=${path("key")}`,
		`--socket=${join(directory, "run/munge")}`,
		`--pid-file=${path("pid")}`,
		`--seed-file=${path("seed")}`,
		`--log-file=${path("log")}`,
		"--num-threads=10",
	];
}

async function configure(
	directory: string,
	{ nodes, killWaitSeconds, nodeTimeoutSeconds }: SlurmOptions,
): Promise<void> {
	await mkdir(join(directory, "munge"), { mode: 0o700 });
	await writeFile(join(directory, "munge/key"), randomBytes(1024), { mode: 0o600 });
	await mkdir(join(directory, "run"), { mode: 0o711 });
	await mkdir(join(directory, "state"));
	const [controller, ...ports] = await freePorts(nodes + 1);
	const host = hostname().split(".")[0];
	const user = userInfo().username;
	for (let node = 1; node <= nodes; node++) await mkdir(join(directory, `node${node}`));
	const lines = [
		"ClusterName=test",
		`SlurmctldHost=${host}(127.0.0.1)`,
		`SlurmctldPort=${controller}`,
		`SlurmUser=${user}`,
		`SlurmdUser=${user}`,
		"AuthType=auth/munge",
		"CredType=cred/munge",
		// A requeued job waits for as long as a credential lives, 120 s by default; 5 s is the least that SLURM takes.
		`AuthInfo=socket=${join(directory, "run/munge")},cred_expire=5`,
		// Listens on loopback only, where the host's name leads there or anywhere.
		...((await isResolved(hostname()))
			? ["CommunicationParameters=NoCtldInAddrAny,NoInAddrAny"]
			: []),
		`StateSaveLocation=${join(directory, "state")}`,
		`SlurmdSpoolDir=${join(directory, "%n")}`,
		`SlurmctldPidFile=${join(directory, "slurmctld.pid")}`,
		`SlurmdPidFile=${join(directory, "%n.pid")}`,
		// Nothing that needs control groups.
		"ProctrackType=proctrack/linuxproc",
		"TaskPlugin=task/none",
		"JobAcctGatherType=jobacct_gather/none",
		"AccountingStorageType=accounting_storage/none",
		"MpiDefault=none",
		"SelectType=select/cons_tres",
		"SelectTypeParameters=CR_Core_Memory",
		"SchedulerParameters=sched_interval=1,bf_interval=1",
		"JobRequeue=1",
		`KillWait=${killWaitSeconds}`,
		`SlurmdTimeout=${nodeTimeoutSeconds}`,
		"ReturnToService=2",
		// The nodes may have more than this host.
		"SlurmdParameters=config_overrides",
		...ports.map(
			(port, index) =>
				`NodeName=node${index + 1} NodeHostname=${host} NodeAddr=127.0.0.1 Port=${port} CPUs=32 RealMemory=65536`,
		),
		"PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP",
	];
	await writeFile(join(directory, "slurm.conf"), `${lines.join("\n")}\n`);
	// Debian's slurm.conf folder has one; ours must not look for plugins that are not there.
	await writeFile(join(directory, "plugstack.conf"), "");
}

function isResolved(host: string): Promise<boolean> {
	return lookup(host).then(
		() => true,
		() => false,
	);
}

async function stop(daemon: ChildProcess): Promise<void> {
	if (daemon.exitCode !== null || daemon.signalCode !== null) return;
	const ended = once(daemon, "exit");
	daemon.kill("SIGTERM");
	const timer = setTimeout(() => daemon.kill("SIGKILL"), 5000);
	await ended;
	clearTimeout(timer);
}

function kill(pid: number): void {
	try {
		process.kill(pid, "SIGKILL");
	} catch {
		// It has ended by itself.
	}
}
