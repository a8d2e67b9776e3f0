import { probeGpu } from "../stream/webgpu/probe.ts";
import { serveParent } from "./child-program.ts";
import { recordOf } from "./error-record.ts";
import type { ProbeAnswer, ProbeRequest } from "./probe.ts";

// Looks for a GPU, in a process of its own: a driver that crashes takes nothing with it.

const tell = serveParent();
const answer = (message: ProbeAnswer): void => tell(message);

process.once("message", (request: ProbeRequest) => {
	probeGpu(request).then(
		(facts) => answer({ facts }),
		(error: unknown) => answer({ error: recordOf(error) }),
	);
});
