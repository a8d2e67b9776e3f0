import { heavyKindOf } from "../plan/heavy-bytes.ts";
import type { ThreadTask, ToThread } from "./messages.ts";
import { createWebgpuBackend, type WebgpuBackend } from "../stream/webgpu/create-webgpu-backend.ts";
import { serveParent } from "./child-program.ts";
import { gpuSizesOf } from "./gpu-sizes.ts";
import { runTask } from "./run-task.ts";

// The program of a thread that uses a GPU, in a process of its own: the first message is its task.

/** Time between two signs of life. */
const BEAT_MS = 1000;

const tell = serveParent();
let backend: WebgpuBackend | undefined;

process.once("message", (task: ThreadTask) => {
	setInterval(() => tell({ kind: "alive", gpu: backend?.gpu }), BEAT_MS);
	void runTask(
		task,
		{
			tell,
			listen: (listener) => void process.on("message", (message: ToThread) => listener(message)),
		},
		{
			async open() {
				backend = await createWebgpuBackend({
					onTrouble: (reason) => tell({ kind: "trouble", reason }),
					...gpuSizesOf(task.share.plan),
					wants:
						task.device === "webgpu" ? undefined : ({ piece }) => heavyKindOf(piece) !== undefined,
				});
				return backend;
			},
			counters: () => backend?.gpu,
		},
	);
});
