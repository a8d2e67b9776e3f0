import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { numel } from "../../src/core/shape.ts";
import type { SmallModel } from "./model-sources.ts";
import { safetensorsFile } from "./safetensors-cases.ts";

/** Writes a small model of float32 tensors as a directory that the commands can read. Each tensor's bytes follow from its name. */
export async function writeModel(directory: string, { config, shapes }: SmallModel): Promise<void> {
	let end = 0;
	const members: (readonly [string, unknown])[] = [];
	const parts: Uint8Array[] = [];
	for (const [name, shape] of Object.entries(shapes)) {
		const bytes = Buffer.alloc(4 * numel(shape), createHash("sha256").update(name).digest());
		members.push([name, { dtype: "F32", shape, data_offsets: [end, end + bytes.length] }]);
		parts.push(bytes);
		end += bytes.length;
	}
	await mkdir(directory, { recursive: true });
	await writeFile(join(directory, "config.json"), JSON.stringify(config));
	const header = JSON.stringify(Object.fromEntries(members));
	await writeFile(
		join(directory, "model.safetensors"),
		safetensorsFile(header, Buffer.concat(parts)),
	);
}
