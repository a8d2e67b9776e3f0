// The process of `hub.mjs`: a local Hub whose large files are at another origin.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { connect } from "node:net";
import { join, relative, sep } from "node:path";
import { createServer } from "node:tls";
import { createLocalHub } from "../../dist/src/demo/local-hub.js";

async function* filesBelow(directory) {
	for (const entry of await readdir(directory, { withFileTypes: true })) {
		const path = join(directory, entry.name);
		if (entry.isDirectory()) yield* filesBelow(path);
		else yield path;
	}
}

/** Every file of a directory with an invented hash: nobody compares it with the content, and hashing gigabytes takes time. */
async function describeRepo({ id, directory }) {
	const files = new Map();
	for await (const diskPath of filesBelow(directory)) {
		const path = relative(directory, diskPath).split(sep).join("/");
		const { size, mtimeMs } = await stat(diskPath);
		const sha256 = createHash("sha256").update(`${id} ${path} ${size} ${mtimeMs}`).digest("hex");
		files.set(path, { diskPath, sha256 });
	}
	return { id, files };
}

/** Lets the Hub answer, but sends clients to `cdn` for what its own CDN would serve: `/{folder}/{path}` there. */
function redirectTo(cdn, repos) {
	const folders = new Map(repos.map(({ id, cdnFolder }) => [id, cdnFolder]));
	return ({ record, response }, next) => {
		const { writeHead } = response;
		response.writeHead = (status, headers) => {
			if (record.origin === "hub" && status === 302) {
				const url = new URL(headers.Location);
				const [, id, path] = /^\/([^/]+\/[^/]+)\/[0-9a-f]{40}\/(.+)$/.exec(url.pathname);
				headers = { ...headers, Location: `${cdn}/${folders.get(id)}/${path}${url.search}` };
			}
			return writeHead.call(response, status, headers);
		};
		next();
	};
}

/** TLS in front of the Hub: its traffic is small. */
async function startTlsFront({ certFile, keyFile }, endpoint) {
	const options = { cert: readFileSync(certFile), key: readFileSync(keyFile) };
	const server = createServer(options, (client) => {
		const upstream = connect(Number(new URL(endpoint).port), "localhost");
		client.pipe(upstream).pipe(client);
		client.on("error", () => upstream.destroy());
		upstream.on("error", () => client.destroy());
	});
	server.on("tlsClientError", () => {});
	await new Promise((resolve) => server.listen(0, "localhost", resolve));
	return `https://localhost:${server.address().port}`;
}

const { repos, cdn, tls } = JSON.parse(process.argv[2]);
const hub = await createLocalHub({
	repos: await Promise.all(repos.map(describeRepo)),
	intercept: redirectTo(cdn, repos),
});
const endpoint = tls === undefined ? hub.endpoint : await startTlsFront(tls, hub.endpoint);
process.on("message", (question) => {
	if (question === "requests") process.send(hub.requests);
	else if (question === "reset") process.send({ reset: hub.requests.splice(0).length });
});
process.once("disconnect", () => process.exit(0));
process.send({ endpoint });
