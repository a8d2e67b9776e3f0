import type { Diagnosis } from "../../index.ts";
import type { Finding, FindingState } from "./finding.ts";
import { gpuFindings } from "./gpu-findings.ts";
import { machineFindings } from "./machine-findings.ts";

/** Words in front of findings, of equal width. */
const MARKS: { readonly [S in FindingState]: string } = {
	ok: "ok      ",
	note: "note    ",
	problem: "problem ",
};

/** All findings of a diagnosis, in the order in which one thing needs the other. */
export function findingsOf({ machine, gpu }: Diagnosis): readonly Finding[] {
	return [...machineFindings(machine), ...(gpu === undefined ? [] : gpuFindings(gpu))];
}

/** A diagnosis for people; no line break at the end. */
export function renderDiagnosis(diagnosis: Diagnosis): string {
	const findings = findingsOf(diagnosis);
	const linesOf = (area: Finding["area"]): string[] =>
		findings.filter((found) => found.area === area).flatMap(renderFinding);
	const { version, ready, gpu } = diagnosis;
	const lines = [`hf-stream-dcp ${version}`, "", "This machine", ...linesOf("machine"), ""];
	if (gpu !== undefined) {
		lines.push("A GPU, which is optional: docs/gpu.md", ...linesOf("gpu"), "");
	}
	lines.push(ready ? "Conversions can run." : "No conversion can run.");
	if (gpu !== undefined) lines.push(verdictOf(gpu));
	return lines.join("\n");
}

function renderFinding({ state, text, hint }: Finding): string[] {
	const line = `  ${MARKS[state]} ${text}`;
	return hint === undefined ? [line] : [line, `           → ${hint}`];
}

function verdictOf({ problem, examination }: NonNullable<Diagnosis["gpu"]>): string {
	if (problem !== undefined) return `The CPU does all the work: ${problem}.`;
	return examination?.adapter?.isSoftware === true
		? "--device webgpu works, in software; --device auto leaves the work to the CPU."
		: "The GPU can be used: --device auto takes it where it is quicker, --device webgpu always.";
}
