import { parseLayoutFile, type LayoutFile } from "../../src/layout/layout-file.ts";
import type { GoldenLayout } from "./golden-layouts.ts";

/** The other name that a golden file gives a dimension of a mesh. */
const ALIASES: { readonly [dim: string]: string } = { dp_shard: "fsdp", dp_shard_cp: "fsdp" };

/** Row-major sizes of the two meshes that torchtitan builds, every dimension of which is a name in a golden file. */
function meshesOf({ parallel_dims: dims }: GoldenLayout): readonly (readonly [string, number][])[] {
	const fsdp = dims.dp_shard * dims.cp;
	const outer: [string, number][] = [
		["pp", dims.pp],
		["dp_replicate", dims.dp_replicate],
	];
	return [
		[...outer, ["fsdp", fsdp], ["tp", dims.tp]],
		[...outer, ["efsdp", (fsdp * dims.tp) / dims.ep], ["ep", dims.ep]],
	];
}

/** The ranks of a mesh with the named dimensions, at one pipeline rank, over and over for the dimensions that are not named. */
function ranksOf(
	mesh: readonly (readonly [string, number])[],
	names: readonly string[],
	pp: number,
): readonly number[] {
	const strides = new Map<string, number>();
	let stride = 1;
	for (const [name, size] of mesh.toReversed()) {
		strides.set(name, stride);
		stride *= size;
	}
	const order = mesh.filter(([name]) => name !== "pp" && !names.includes(name));
	for (const name of names) order.push(...mesh.filter(([other]) => other === name));
	let ranks = [pp * strides.get("pp")!];
	for (const [name, size] of order) {
		ranks = ranks.flatMap((rank) =>
			Array.from({ length: size }, (_, i) => rank + i * strides.get(name)!),
		);
	}
	return ranks;
}

/** What `docs/dump_layout.py` would write for a golden layout, as text, of all ranks together. */
export function layoutJsonOf(golden: GoldenLayout): string {
	const [dense, sparse] = meshesOf(golden);
	const meshes: { [name: string]: object } = {};
	const tensors: object[] = [];
	for (const [fqn, param] of Object.entries(golden.params)) {
		if (param.kind === "param_not_in_state_dict") continue;
		const dims = (param.mesh_dims ?? []).map((dim) => ALIASES[dim] ?? dim);
		const mesh = dims.some((dim) => dim === "efsdp" || dim === "ep") ? sparse! : dense!;
		const stages = new Set(
			Object.values(golden.ranks)
				.filter(({ state }) => Object.hasOwn(state, fqn))
				.map(({ axis_rank: axis }) => axis["pp"] ?? 0),
		);
		const name = `${dims.join("×") || "none"} of ${[...stages].join()}`;
		meshes[name] ??= {
			dims,
			shape: dims.map((dim) => mesh.find(([other]) => other === dim)![1]),
			ranks: [...stages].flatMap((pp) => ranksOf(mesh, dims, pp)),
		};
		const placements = param.placements ?? [];
		tensors.push({ fqn, mesh: name, placements, shape: param.global_shape });
	}
	return JSON.stringify({ version: 1, worldSize: golden.world_size, meshes, tensors });
}

/** The same, read. */
export function layoutFileOf(golden: GoldenLayout): LayoutFile {
	return parseLayoutFile(layoutJsonOf(golden), "golden");
}
