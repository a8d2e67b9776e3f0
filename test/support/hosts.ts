import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { setTimeout as wait } from "node:timers/promises";

/** Where Debian and Fedora keep OpenSSH's file server. */
const SFTP_SERVERS = ["/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server"];

/** A cable of a host. */
export type Link = "hub" | "files";

/** A program that runs on a host. */
export interface HostProcess {
	readonly child: ChildProcess;
	/** Of the program, as this side sees it. */
	readonly pid: number;
	/** Sends it a signal. `SIGKILL` ends it whatever state it is in. */
	signal(name: "SIGSTOP" | "SIGCONT" | "SIGKILL"): void;
}

/** A host of its own: addresses, name, process numbers, mounts. It shares kernel and clock with the others. */
export interface Host {
	readonly name: string;
	/** Starts a program there, with this environment and `PATH`. */
	start(
		command: readonly string[],
		env?: { readonly [name: string]: string },
	): Promise<HostProcess>;
	/** Takes a cable out, or puts it in again. */
	plug(link: Link, state: "up" | "down"): void;
}

/** Hosts with two networks to this side: one to the Hub, one to the file server. */
export interface Hosts extends AsyncDisposable {
	readonly hosts: readonly Host[];
	/** Address of this side in the Hub's network. */
	readonly hubAddress: string;
}

/** What {@link createHosts} makes. */
export interface HostsOptions {
	readonly count: number;
	/** Directory of this side that the hosts share. */
	readonly shared: string;
	/** Where every host sees it. Exists here, empty. */
	readonly mountPoint: string;
}

/** Why hosts cannot be had here; `undefined` when they can. */
export function whyNoHosts(): string | undefined {
	const runs = (command: string, ...args: string[]): boolean =>
		spawnSync(command, args, { stdio: "ignore" }).status === 0;
	if (process.platform !== "linux" || process.getuid?.() !== 0) return "needs root on Linux";
	if (!runs("ip", "-V")) return "needs ip (Debian: iproute2)";
	if (!runs("sshfs", "--version")) return "needs sshfs (Debian: sshfs)";
	if (!SFTP_SERVERS.some((path) => existsSync(path))) {
		return "needs sftp-server (Debian: openssh-sftp-server)";
	}
	if (!existsSync("/dev/fuse")) return "needs FUSE";
	const namespaces = ["--net", "--mount", "--uts", "--pid", "--fork", "--mount-proc"];
	return runs("unshare", ...namespaces, "true") ? undefined : "needs the right to make namespaces";
}

/** What is to be undone, last first. */
type Undo = (() => unknown)[];

/**
 * Makes hosts out of namespaces of the kernel, joined to this side by virtual cables. The shared directory reaches them through
 * sshfs, uncached, over a cable of its own.
 */
export async function createHosts({ count, shared, mountPoint }: HostsOptions): Promise<Hosts> {
	const undo: Undo = [];
	const dispose = async (): Promise<void> => {
		for (const step of undo.toReversed()) await step();
	};
	try {
		// Interface names have at most 15 characters; several test processes may run at a time.
		const prefix = `hf${process.pid.toString(36)}`;
		const bridges = { hub: `${prefix}h`, files: `${prefix}f` };
		const net = process.pid % 250;
		const subnets = { hub: `10.211.${net}`, files: `10.212.${net}` };
		for (const link of ["hub", "files"] as const) {
			ip("link", "add", bridges[link], "type", "bridge");
			undo.push(() => ip("link", "del", bridges[link]));
			ip("addr", "add", `${subnets[link]}.1/24`, "dev", bridges[link]);
			ip("link", "set", bridges[link], "up");
		}
		const port = await serveFiles(`${subnets.files}.1`, undo);
		const hosts: Host[] = [];
		for (let index = 0; index < count; index++) {
			const host = await bootHost(`host${index}`, undo, (pid) => {
				for (const link of ["hub", "files"] as const) {
					const [outer, inner] = [`${bridges[link]}${index}`, link];
					ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", String(pid));
					undo.push(() => spawnSync("ip", ["link", "del", outer], { stdio: "ignore" }));
					ip("link", "set", outer, "master", bridges[link], "up");
					inside(pid, "ip", "addr", "add", `${subnets[link]}.${10 + index}/24`, "dev", inner);
					inside(pid, "ip", "link", "set", inner, "up");
				}
				inside(pid, "ip", "link", "set", "lo", "up");
				return (link, state) => ip("link", "set", `${bridges[link]}${index}`, state);
			});
			hosts.push(host);
			const options = `directport=${port},dir_cache=no,attr_timeout=0,entry_timeout=0,negative_timeout=0`;
			const source = `${subnets.files}.1:${shared}`;
			const { pid } = await host.start(["sshfs", "-f", "-o", options, source, mountPoint]);
			await until(() =>
				readFileSync(`/proc/${pid}/mounts`, "utf8").includes(` ${mountPoint} fuse`),
			);
		}
		return { hosts, hubAddress: `${subnets.hub}.1`, [Symbol.asyncDispose]: dispose };
	} catch (error) {
		await dispose();
		throw error;
	}
}

function ip(...args: string[]): void {
	execFileSync("ip", args);
}

/** Runs a program in the namespaces of `pid`. */
function inside(pid: number, ...command: string[]): void {
	execFileSync("nsenter", [...NAMESPACES(pid), "--", ...command]);
}

const NAMESPACES = (pid: number): string[] => ["-t", String(pid), "-m", "-u", "-n", "-p"];

/** A file server as sshd starts it, without the encryption: sshfs connects to it directly. */
async function serveFiles(address: string, undo: Undo): Promise<number> {
	const program = SFTP_SERVERS.find((path) => existsSync(path)) ?? "";
	const server = createServer((socket) => {
		const child = spawn(program, ["-e"], { stdio: ["pipe", "pipe", "ignore"] });
		socket.setNoDelay(true);
		socket.pipe(child.stdin);
		child.stdout.pipe(socket);
		child.stdin.on("error", () => {});
		socket.on("error", () => {}).on("close", () => child.kill("SIGKILL"));
		child.on("exit", () => socket.destroy());
		sockets.add(socket);
	});
	const sockets = new Set<{ destroy(): unknown }>();
	await new Promise<void>((resolve) => server.listen(0, address, resolve));
	undo.push(() => {
		for (const socket of sockets) socket.destroy();
		server.close();
	});
	return (server.address() as AddressInfo).port;
}

/** Begins the namespaces of a host; when its first process ends, so does everything in it. */
async function bootHost(
	name: string,
	undo: Undo,
	plugIn: (pid: number) => Host["plug"],
): Promise<Host> {
	const first = spawn(
		"unshare",
		["--net", "--mount", "--uts", "--pid", "--fork", "--mount-proc", "sleep", "infinity"],
		{ stdio: "ignore" },
	);
	const pid = await childOf(first);
	undo.push(async () => {
		const ended = new Promise((resolve) => first.once("exit", resolve));
		process.kill(pid, "SIGKILL");
		await ended;
	});
	await until(() => readFileSync(`/proc/${pid}/comm`, "utf8").trim() === "sleep");
	inside(pid, "hostname", name);
	const plug = plugIn(pid);
	return {
		name,
		plug,
		async start(command, env = {}) {
			const child = spawn("nsenter", [...NAMESPACES(pid), "--", ...command], {
				env: { PATH: process.env["PATH"], ...env },
				stdio: ["ignore", "pipe", "pipe"],
			});
			const own = await childOf(child);
			return {
				child,
				pid: own,
				signal(signal) {
					process.kill(own, signal);
					// nsenter stops itself when its program is stopped.
					if (signal !== "SIGSTOP") child.kill("SIGCONT");
				},
			};
		},
	};
}

/** Of a program that forks once, as those do that enter a process namespace. */
async function childOf(child: ChildProcess): Promise<number> {
	const list = `/proc/${child.pid}/task/${child.pid}/children`;
	let pid = 0;
	await until(() => {
		try {
			pid = Number(readFileSync(list, "utf8").trim().split(" ")[0]);
		} catch {
			// It has ended already.
			return true;
		}
		return pid > 0;
	});
	return pid;
}

/** Waits for what the kernel will do in a moment. */
async function until(condition: () => boolean): Promise<void> {
	for (let tries = 0; tries < 500; tries++) {
		if (condition()) return;
		await wait(10);
	}
	throw new Error("waited for 5 s in vain");
}
