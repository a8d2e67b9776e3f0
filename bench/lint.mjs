// What `lint` takes for the largest models, of the index alone: a checkpoint cut for one mesh, loaded on others.
//
//   npm run build && node bench/lint.mjs ["Llama 3.1 405B, 1024"]
import { torchSaveFormat } from "../dist/src/dcp/torch-save.js";
import { createLayout } from "../dist/src/layout/create-layout.js";
import { resolveParallelism } from "../dist/src/layout/parallelism.js";
import { lintIndex } from "../dist/src/lint/lint-index.js";
import { checkpointIndexOf } from "../dist/src/plan/checkpoint-index.js";
import { createPlan } from "../dist/src/plan/create-plan.js";
import { limitsFor } from "../dist/src/plan/limits.js";
import { inputsOf } from "./plan/model.mjs";

/** Meshes of 1,024 ranks or about as many, and changes of the rules. */
const JOBS = {
	"FSDP × TP, its own": [{ dpShard: 128, tp: 8 }, {}],
	"HSDP × TP": [{ dpReplicate: 2, dpShard: 64, tp: 8 }, {}],
	"PP × FSDP × TP": [{ pp: 4, dpShard: 32, tp: 8 }, {}],
	"FSDP × TP 2": [{ dpShard: 512, tp: 2 }, {}],
	FSDP: [{ dpShard: 1024 }, { kind: "fsdp" }],
	"FSDP, a rank less": [{ dpShard: 1023 }, { kind: "fsdp" }],
	DDP: [{ dpReplicate: 1024 }, {}],
	"FSDP × TP, fused QKV": [{ dpShard: 128, tp: 8 }, { fusedQkv: true }],
};

const name = process.argv[2] ?? "Llama 3.1 405B, 1024";
const inputs = inputsOf(name);
const limits = limitsFor(512 * 2 ** 20);
const plan = createPlan({ ...inputs, format: torchSaveFormat, limits, shares: 1 });
const index = checkpointIndexOf(plan);
const files = plan.files.map((file) => ({ name: file.name, bytes: file.bytes, isMissing: false }));
const tensors = index.tensors.map(({ fqn, shape }) => ({ fqn, shape }));
console.log(`${name}: ${index.tensors.length} tensors, ${plan.entries.length} entries`);
for (const [job, [mesh, change]] of Object.entries(JOBS)) {
	const rules = { ...inputs.map.rules, ...change };
	const { facts } = inputs.map;
	const layout = createLayout({ parallelism: resolveParallelism(mesh), rules, facts });
	const [before, cpuBefore] = [performance.now(), process.cpuUsage()];
	const { costs } = lintIndex({
		index,
		files,
		metadataBytes: 0,
		bufferBytes: 4096,
		trainer: { tensors, objects: [], layout },
	});
	const seconds = (performance.now() - before) / 1000;
	const { user, system } = process.cpuUsage(cpuBefore);
	const cpuSeconds = (user + system) / 1e6;
	const { entries, amplification } = costs.total;
	console.log(
		`${job}: ${seconds.toFixed(1)} s, ${cpuSeconds.toFixed(1)} s of CPU; ${entries} entries opened, amplification ${amplification.toFixed(2)}`,
	);
}
console.log(`peak ${(process.resourceUsage().maxRSS / 1e6).toFixed(1)} GB`);
