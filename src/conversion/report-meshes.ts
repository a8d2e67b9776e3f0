import { denseMesh, type Mesh, sparseMesh } from "../layout/mesh.ts";
import {
	type Parallelism,
	type ParallelismInput,
	resolveParallelism,
} from "../layout/parallelism.ts";
import type { ReportMesh } from "../report/report-data.ts";

/** The mesh of a training job, and that of its routed experts where they have another. */
export function meshesOf(parallelism: Parallelism): readonly ReportMesh[] {
	const dense = describe("mesh", denseMesh(parallelism));
	return parallelism.ep > 1 ? [dense, describe("experts", sparseMesh(parallelism))] : [dense];
}

/** As {@link meshesOf}, of a mesh as a command gave it; none when it gave none. */
export function meshesOfInput(input: ParallelismInput | undefined): readonly ReportMesh[] {
	return input === undefined ? [] : meshesOf(resolveParallelism(input));
}

function describe(name: string, { axes }: Mesh): ReportMesh {
	return { name, axes: axes.map(({ name: axis, size }) => ({ name: axis, size })) };
}
