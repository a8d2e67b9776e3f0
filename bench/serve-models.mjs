// A Hub of its own process, so that its memory is not counted: serves every folder below DIR as `tests/NAME`.
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { createLocalHub } from "../dist/src/demo/local-hub.js";

const [directory = "."] = process.argv.slice(2);
const names = await readdir(directory);
const hub = await createLocalHub({
	repos: names.map((name) => ({ id: `tests/${name}`, directory: join(directory, name) })),
});
process.stdout.write(`${hub.endpoint}\n`);
