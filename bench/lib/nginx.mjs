// "The CDN" of the benchmarks: a private nginx on loopback.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { onExit } from "./cleanup.mjs";
import { scratchFolder } from "./scratch.mjs";
import { findTool } from "./tools.mjs";

/**
 * A running nginx.
 *
 * @typedef {object} Nginx
 * @property {string} httpOrigin `http://127.0.0.1:…`
 * @property {string} httpsOrigin `https://localhost:…`, TLS 1.3 only
 * @property {string} caFile certificate to trust, PEM
 * @property {string} keyFile its key
 * @property {number} pid of the worker's master
 * @property {() => Served} served what was served since the start or the last call of `resetServed`
 * @property {() => void} resetServed forgets what was served so far
 * @property {() => Promise<void>} stop ends the processes and removes their files
 */

/** @typedef {{ requests: number, bodyBytes: number }} Served answered requests, and bytes of their bodies that went out */

async function freePort() {
	const server = createServer().listen(0, "127.0.0.1");
	await once(server, "listening");
	const { port } = server.address();
	server.close();
	await once(server, "close");
	return port;
}

/** A certificate for `localhost` and 127.0.0.1, signed with its own key. */
function selfSign(folder) {
	const cert = join(folder, "localhost.pem");
	const key = join(folder, "localhost.key");
	const openssl = findTool("openssl");
	if (openssl.skip !== undefined) throw new Error(openssl.skip);
	const subject = [
		"-subj",
		"/CN=localhost",
		"-addext",
		"subjectAltName=DNS:localhost,IP:127.0.0.1",
	];
	const keyKind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
	execFileSync(
		openssl.path,
		["req", "-x509", "-days", "7", ...keyKind, "-keyout", key, "-out", cert, ...subject],
		{ stdio: "pipe" },
	);
	return { cert, key };
}

/** Started by root, nginx would serve as `nobody`, who may not read temporary directories. */
function asThisUser() {
	return process.getuid() === 0 ? `user ${userInfo().username};\n` : "";
}

function configure({ folder, directory, httpPort, httpsPort, cert, key }) {
	return `daemon off;
${asThisUser()}worker_processes 1;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log warn;
events { worker_connections 1024; }
http {
	log_format counts '$status $body_bytes_sent';
	access_log ${folder}/access.log counts;
	sendfile on;
	tcp_nopush on;
	keepalive_requests 1000000;
	keepalive_timeout 600s;
	# A slow reader is not a lost one.
	send_timeout 600s;
	etag on;
	default_type application/octet-stream;
	client_body_temp_path ${folder}/body;
	proxy_temp_path ${folder}/proxy;
	fastcgi_temp_path ${folder}/fastcgi;
	uwsgi_temp_path ${folder}/uwsgi;
	scgi_temp_path ${folder}/scgi;
	server {
		listen 127.0.0.1:${httpPort};
		listen 127.0.0.1:${httpsPort} ssl;
		ssl_certificate ${cert};
		ssl_certificate_key ${key};
		ssl_protocols TLSv1.3;
		root ${directory};
	}
}
`;
}

/**
 * Serves a directory with ranges and keep-alive, over plain HTTP/1.1 and over TLS 1.3, from one worker process with `sendfile`.
 * A query in a URL is ignored.
 *
 * @param {{ directory: string }} options absolute path
 * @returns {Promise<Nginx>}
 * @throws {Error} when nginx or openssl is missing; look with `findTool` first
 */
export async function startNginx({ directory }) {
	const program = findTool("nginx");
	if (program.skip !== undefined) throw new Error(program.skip);
	const scratch = await scratchFolder();
	const folder = scratch.path;
	const [httpPort, httpsPort] = [await freePort(), await freePort()];
	const { cert, key } = selfSign(folder);
	await mkdir(join(folder, "logs"), { recursive: true });
	const config = join(folder, "nginx.conf");
	await writeFile(config, configure({ folder, directory, httpPort, httpsPort, cert, key }));
	const args = ["-p", folder, "-c", config, "-e", join(folder, "error.log")];
	const child = spawn(program.path, args, { stdio: ["ignore", "ignore", "inherit"] });
	const closed = once(child, "close");
	const forget = onExit(() => child.kill("SIGTERM"));
	const httpOrigin = `http://127.0.0.1:${httpPort}`;
	await untilAnswering(httpOrigin, child);
	const log = join(folder, "access.log");
	let seen = readLog(log);
	return {
		httpOrigin,
		httpsOrigin: `https://localhost:${httpsPort}`,
		caFile: cert,
		keyFile: key,
		pid: child.pid,
		served: () => {
			const all = readLog(log);
			return { requests: all.requests - seen.requests, bodyBytes: all.bodyBytes - seen.bodyBytes };
		},
		resetServed: () => {
			seen = readLog(log);
		},
		stop: async () => {
			child.kill("SIGTERM");
			await closed;
			forget();
			await scratch.remove();
		},
	};
}

async function untilAnswering(origin, child) {
	for (let tries = 0; tries < 100; tries++) {
		if (child.exitCode !== null) break;
		try {
			await fetch(origin, { method: "HEAD" });
			return;
		} catch {
			await delay(20);
		}
	}
	child.kill("SIGTERM");
	throw new Error("nginx does not answer");
}

/** @returns {Served} */
function readLog(path) {
	const lines = readFileSync(path, "utf8")
		.trimEnd()
		.split("\n")
		.filter((line) => line !== "");
	return {
		requests: lines.length,
		bodyBytes: lines.reduce((sum, line) => sum + Number(line.split(" ")[1]), 0),
	};
}
